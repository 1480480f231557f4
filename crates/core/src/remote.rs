//! `[remote]`: configuration from the cloud, of which this is what decides; no connection, no thread, no ROS.
//!
//! ```text
//!  …/accepted, …/delta ──► Session ──► Event::Desired ──► Keeper ──► Step: keep, apply, report
//!  …/get, …/update     ◄── Session ◄── Report ◄──────────────────────┘
//! ```

pub mod jobs;
mod keeper;
mod outcome;
mod phase;
mod reported;
mod session;
mod state_directory;
pub mod store;
mod trial;
mod wish;

pub use keeper::{Keeper, Step};
pub use outcome::{Job, Outcome, Verdict};
pub use reported::{Figures, REPORT_LIMIT, Report};
pub use session::{Event, Malformed, Outgoing, Session, Spread};
pub use state_directory::state_directory;
pub use store::Store;
pub use trial::{Evidence, TopicEvidence, Trial};
pub use wish::{By, LONGEST_VERSION, Unread, Wish};
