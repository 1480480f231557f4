//! Loading and validation of the configuration. Knows nothing of the rest of the program.

mod settings;

pub use settings::*;
