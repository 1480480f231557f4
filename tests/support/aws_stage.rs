//! A [`Stage`] with the broker that behaves as AWS IoT Core does.

use super::aws_broker::{AwsBroker, Limits};
use super::link::Link;
use super::stage::Stage;

impl Stage {
    /// As [`Stage::set`]; behind the link is the broker that is returned, which keeps `limits`.
    pub async fn set_with_aws(limits: Limits) -> (Stage, AwsBroker) {
        let mut stage = Stage::set().await;
        let broker = AwsBroker::start(&stage.authority, limits).await;
        stage.link = Link::open(broker.port).await;
        (stage, broker)
    }
}
