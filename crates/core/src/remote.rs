//! `[remote]`: configuration from the cloud, of which this is what decides; no connection, no thread, no ROS.
//!
//! ```text
//!  …/accepted, …/delta ──► Session ──► Event::Desired ──► Keeper ──► Step: keep, apply, report
//!  …/get, …/update     ◄── Session ◄── Report ◄──────────────────────┘
//! ```
//!
//! What is desired becomes a [`Wish`]: a version and sections. The [`Keeper`] takes one at a time through these steps:
//!
//! ```text
//!  read ──► checked ──► kept on the disk ──► in force, on trial ──► applied: it is the one that comes back from now on
//!    │         │                │                  │     └────────► rolled_back: the one that was applied before comes back
//!    └─────────┴────────────────┴──────────────────┴──────────────► rejected: what is in force stays
//! ```
//!
//! An example with `confirm = "2 min"`. Version 7 is applied, and version 8 comes into force at 12:00:00:
//!
//! - A record of version 8 is acknowledged at 12:00:01. At 12:00:10 version 8 is applied: it is on trial for 10 s at least, as it
//!   may end the process at one of its first messages.
//! - Topics of version 8 have records, and none is acknowledged. At 12:02:00 version 7 comes back.
//! - No topic has a record. At 12:02:00 the report is sent anew, and is the proof: if the shadow holds it by 12:04:00, version 8 is
//!   applied, and otherwise version 7 comes back.
//! - The process ends twice while version 8 is on trial. The next one starts with version 7. A process that is asked to stop
//!   does not count.

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
