//! `[remote]`: configuration from the cloud, of which this is what decides; no connection, no thread, no disk, no ROS.
//!
//! ```text
//!  …/get, …/update  ◄── Session ◄── Report, Figures
//!  …/accepted, …/delta ──► Session ──► Event::Desired
//! ```

mod phase;
mod reported;
mod session;

pub use reported::{Figures, REPORT_LIMIT, Report, WishState};
pub use session::{Event, Outgoing, Session, Spread};
