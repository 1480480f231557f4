//! What the cloud asks for, by whoever may publish to the topic of a command.

pub mod hostile;
mod malicious;
mod properties;
