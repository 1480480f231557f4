//! Configuration from the cloud: what is wished, checked, kept, tried, confirmed or rolled back, and reported.

mod keeper;
mod outcome;
pub mod store;
mod trial;
mod wish;

pub use keeper::{Keeper, Step};
pub use outcome::{Job, Outcome, Verdict};
pub use store::Store;
pub use trial::{Evidence, TopicEvidence, Trial};
pub use wish::{By, LONGEST_VERSION, Unread, Wish};
