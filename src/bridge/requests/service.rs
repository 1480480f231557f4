//! A service: an MQTT topic whose requests call a ROS service.
//!
//! - Up to [`MOST_CALLS`] calls are under way at a time, whichever the server answers first.
//! - A call ends with the server's response, or after the entry's `timeout`: also when the server goes meanwhile, for it may
//!   have done already what it was asked for. A response that comes later is forgotten.
//! - ROS keeps ten requests that a server has not come to, unless the server says otherwise, and overwrites the oldest: those
//!   end with a timeout.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::answers::{Answers, Asker, DUPLICATE, Known, LOST, REPLY_MAX_AGE, received};
use super::clients::{Callable, Clients, SHARE};
use super::json::{json_of, too_large, unreadable};
use super::{Handler, Outside};
use crate::health::RequestHealth;
use crate::ros::{Client, MOST_CALLS, Node, OnArrival, RosError, ServiceType};
use iot_bridge_core::codec::{Decoder, Encoder};
use iot_bridge_core::config::{self, PAYLOAD_LIMIT, Qos};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::requests::{Detail, Malformed, ServiceError, ServiceRequest};
use iot_bridge_core::uplink::Subscription;

/// As metrics name a call that has its response.
const RESPONSE: &str = "response";

pub(super) struct Service {
    settings: config::Service,
    clients: Clients<Codec>,
    /// By the client and the number of the call.
    calls: HashMap<(u64, i64), Call>,
    known: Known,
    answers: Answers,
}

/// A call that is under way.
struct Call {
    asker: Asker,
    ends: Instant,
}

/// Why there is no call.
struct Refusal {
    asker: Asker,
    error: ServiceError,
    detail: Detail,
}

/// The type of a service, between JSON and CDR.
struct Codec {
    service_type: Arc<ServiceType>,
    request: Encoder,
    response: Decoder,
}

impl Callable for Codec {
    type Client = Client;

    fn load(type_name: &str) -> anyhow::Result<Codec> {
        let service_type = Arc::new(ServiceType::load(type_name)?);
        let request = service_type.request();
        let request = Encoder::new(request.schema(), &request.defaults()?, &[])?;
        let response = Decoder::new(Arc::clone(service_type.response().schema()))?;
        Ok(Codec { service_type, request, response })
    }

    fn client(&self, node: &Arc<Node>, name: &str, wake: &OnArrival) -> Result<Client, RosError> {
        Client::create(node, name, &self.service_type, wake)
    }

    fn is_available(client: &Client) -> Result<bool, RosError> {
        client.is_available()
    }
}

impl Service {
    pub fn new(settings: config::Service, health: Arc<RequestHealth>) -> Service {
        let clients = Clients::new(&settings.service, &settings.type_name);
        let errors = [ServiceError::Timeout, ServiceError::Unavailable, ServiceError::Malformed];
        health.outcomes().expect(errors.map(ServiceError::label).into_iter().chain([RESPONSE, DUPLICATE, LOST]));
        Service { settings, clients, calls: HashMap::new(), known: Known::default(), answers: Answers::new(health) }
    }

    /// Calls the service for what has come, or says why not.
    fn call(&mut self, arrival: &Arrival, now: Instant) -> Result<(), Box<Refusal>> {
        let asker = |identity| Asker::of(arrival, identity, &self.settings.reply);
        let refusal = |asker, error, detail| Err(Box::new(Refusal { asker, error, detail }));
        let received = received(arrival);
        let Some(codec) = self.clients.callable() else {
            // Nobody can read it, but who has sent it is to know.
            let detail = Detail::new(self.clients.absence());
            return refusal(asker(received.sender()), ServiceError::Unavailable, detail);
        };
        let ServiceRequest { identity, cdr } = match ServiceRequest::read(&received, &codec.request) {
            Ok(request) => request,
            Err(Malformed { identity, detail }) => {
                return refusal(asker(identity), ServiceError::Malformed, detail);
            }
        };
        let (asker, key) = (asker(identity.clone()), identity.key());
        if key.as_ref().is_some_and(|key| self.known.is_repeat(key, &arrival.payload, now)) {
            if self.calls.values().any(|call| call.asker.identity == asker.identity) {
                // The answer of the first one is for both.
                self.answers.count_repeat(&asker, now);
                return Ok(());
            }
            let detail =
                Detail::new("this request was answered in the last ten minutes; take another `id` to call again");
            return refusal(asker, ServiceError::Malformed, detail);
        }
        let sent = match self.clients.available() {
            None => Err(Detail::new(self.clients.absence())),
            Some(_) if self.calls.len() >= MOST_CALLS => {
                Err(Detail::new(format_args!("{MOST_CALLS} calls are under way already")))
            }
            Some(client) => client.of.call(&cdr).map(|number| (client.id, number)).map_err(Detail::new),
        };
        match sent {
            Ok(call) => {
                let ends = now + self.settings.timeout;
                self.calls.insert(call, Call { asker, ends });
                if let Some(key) = key {
                    self.known.note(key, &arrival.payload, now);
                }
                Ok(())
            }
            Err(detail) => refusal(asker, ServiceError::Unavailable, detail),
        }
    }

    /// Takes what has come, within a few milliseconds; what is left is for the next turn, which is soon.
    fn take_responses(&mut self, outside: &Outside, now: Instant) {
        let Some(codec) = self.clients.callable().cloned() else { return };
        let began = Instant::now();
        for id in self.clients.ids() {
            while let Some(client) = self.clients.get_mut(id) {
                if began.elapsed() > SHARE {
                    return outside.waker().notify_one();
                }
                match client.take() {
                    Ok(None) => break,
                    Ok(Some((number, cdr))) => {
                        if let Some(call) = self.calls.remove(&(id, number)) {
                            let json = json_of(&codec.response, cdr).map_err(unreadable);
                            self.respond(&call.asker, json, outside, now);
                        }
                    }
                    Err(error) => {
                        self.answers.lost(&error, now);
                        // DDS tells of those behind it only once.
                        if !self.clients.get(id).is_some_and(Client::has_untaken) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Sends a response to `asker`.
    fn respond(&mut self, asker: &Asker, json: Result<Vec<u8>, Detail>, outside: &Outside, now: Instant) {
        let reply = json.map(|json| asker.identity.response(&json));
        match reply.and_then(|reply| if reply.len() > PAYLOAD_LIMIT { Err(too_large()) } else { Ok(reply) }) {
            Ok(reply) => {
                self.answers.ended_well(RESPONSE, asker);
                self.answers.send(asker, &reply, REPLY_MAX_AGE, outside, now);
            }
            Err(detail) => self.has_failed(asker, ServiceError::Unavailable, &detail, outside, now),
        }
    }

    /// A call has no response. It may be asked for again.
    fn has_failed(&mut self, asker: &Asker, error: ServiceError, detail: &Detail, outside: &Outside, now: Instant) {
        if let Some(key) = asker.identity.key() {
            self.known.forget(&key);
        }
        self.fail(asker, error, detail, outside, now);
    }

    /// There is no response for `asker`.
    fn fail(&mut self, asker: &Asker, error: ServiceError, detail: &Detail, outside: &Outside, now: Instant) {
        self.answers.ended_badly(error.label(), detail, asker, now);
        self.answers.send(asker, &asker.identity.no_response(error, detail), REPLY_MAX_AGE, outside, now);
    }
}

impl Handler for Service {
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { filter: self.settings.mqtt.clone(), qos: Qos::AtLeastOnce }]
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        if let Err(refusal) = self.call(&arrival, now) {
            let Refusal { asker, error, detail } = *refusal;
            self.fail(&asker, error, &detail, outside, now);
        }
        arrival.taken();
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        let Service { clients, calls, .. } = self;
        clients.follow(outside, now, |id| calls.keys().any(|(client, _)| *client == id));
        self.answers.stands(self.clients.is_served(), self.clients.trouble());
        self.take_responses(outside, now);
        for (_, Call { asker, .. }) in self.calls.extract_if(|_, call| call.ends <= now).collect::<Vec<_>>() {
            let timeout = self.settings.timeout;
            let detail =
                Detail::new(format_args!("no response within {timeout:?}; whether it was served is not known"));
            self.has_failed(&asker, ServiceError::Timeout, &detail, outside, now);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.calls.values().map(|call| call.ends).min()
    }

    fn end(&mut self, outside: &Outside, now: Instant) {
        for (_, Call { asker, .. }) in std::mem::take(&mut self.calls) {
            let detail =
                Detail::new("the bridge stops, or its configuration has changed; whether it was served is not known");
            self.fail(&asker, ServiceError::Unavailable, &detail, outside, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::super::tests::{Servers, outside, turn};
    use super::*;
    use crate::health::Requests;
    use crate::ros::UNREADABLE;
    use iot_bridge_core::packing::Correlated;

    fn settings(service: &str) -> config::Service {
        config::Service {
            mqtt: "a".to_owned(),
            service: service.to_owned(),
            type_name: "std_srvs/srv/Trigger".to_owned(),
            timeout: Duration::from_secs(60),
            reply: "a/reply".to_owned(),
        }
    }

    /// Before the type is loaded and before there is a server, a request is answered at once, to the response topic and with the
    /// correlation data that MQTT 5 brings; without them to the configured topic, with its id.
    #[tokio::test]
    async fn what_can_not_be_called_is_answered_where_it_was_asked() {
        let (queue, outside) = outside();
        let health = Requests::default().enter("service", "a", "/absent");
        let mut service = Service::new(settings("/absent"), Arc::clone(&health));
        let now = Instant::now();
        let ask = |service: &mut Service, response_topic: Option<&str>| {
            let (mut arrival, _taken) = Arrival::for_test("a", r#"{"id":"1","request":{}}"#);
            if let Some(topic) = response_topic {
                arrival.properties.response_topic = Some(topic.to_owned());
                arrival.properties.correlation_data = Some("its".into());
            }
            service.arrived(arrival, &outside, now);
            let record = queue.lease(now).expect("a reply").record;
            (record.route.mqtt.to_string(), record.payload)
        };
        let reply = |correlation: Option<&[u8]>, json: &str| Correlated::join(correlation, json.as_bytes()).unwrap();
        let words = "the bridge is still loading std_srvs/srv/Trigger";
        let json = format!(r#"{{"id":"1","error":"unavailable","detail":"{words}"}}"#);
        assert_eq!(ask(&mut service, None), ("a/reply".to_owned(), reply(None, &json)));
        while service.clients.callable().is_none() {
            service.turn(&outside, now);
            outside.waker().notified().await;
            service.turn(&outside, now);
        }
        let json = r#"{"error":"unavailable","detail":"there is no server of /absent on ROS"}"#;
        assert_eq!(ask(&mut service, Some("theirs")), ("theirs".to_owned(), reply(Some(b"its"), json)));
        assert_eq!(health.outcomes().read()["unavailable"], 2);
    }

    /// A response that can't be taken is lost alone: those behind it are taken in the same turn.
    #[tokio::test]
    async fn a_response_that_can_not_be_taken_holds_up_none() {
        crate::ros::domain::enter();
        let program = concat!(
            "import rclpy\nfrom std_srvs.srv import Trigger\nrclpy.init()\nnode = rclpy.create_node('servers')\n",
            "kept = node.create_service(Trigger, '/three', lambda request, response: response)\nrclpy.spin(node)\n",
        );
        let _servers = Servers::start(&["-c", program]);
        let (_queue, outside) = outside();
        let health = Requests::default().enter("service", "a", "/three");
        let mut service = Service::new(settings("/three"), Arc::clone(&health));
        let begun = Instant::now();
        let a_while = || tokio::time::sleep(Duration::from_millis(10));
        while service.clients.available().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "there is no server");
            service.turn(&outside, Instant::now());
            a_while().await;
        }
        for id in 1..=3 {
            let payload = format!(r#"{{"id":"{id}","request":{{}}}}"#);
            service.arrived(Arrival::for_test("a", &payload).0, &outside, Instant::now());
        }
        let untaken = |service: &Service| service.clients.available().map_or(0, |client| client.of.untaken());
        while untaken(&service) < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "there are no responses");
            a_while().await;
        }
        UNREADABLE.store(1, Ordering::Release);
        turn(&mut service, &outside).await;
        let counts = health.outcomes().read();
        assert_eq!((service.calls.len(), counts[LOST], counts[RESPONSE]), (1, 1, 2));
    }
}
