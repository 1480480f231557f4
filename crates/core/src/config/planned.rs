//! What the configuration knows and the program can't do yet.
//!
//! Such a key is checked like any other and then refused: nothing that somebody asks for is ignored. Whoever builds
//! the feature takes its line from [`NOT_SUPPORTED_YET`], and the key is accepted.

/// A key that is refused for the time being.
pub(super) struct Planned {
    /// Path of the key, such as `topics[].rate`.
    pub key: &'static str,
}

/// Everything that is refused with "not supported yet".
pub(super) const NOT_SUPPORTED_YET: &[Planned] = &[whole("commands"), whole("services")];

/// Whether what stands under the key at `path` is refused, and with which words.
pub(super) fn refusal(path: &str) -> Option<String> {
    NOT_SUPPORTED_YET.iter().any(|planned| planned.key == path).then(|| "not supported yet; leave it out".to_owned())
}

/// Whether the table at `path`, or the list of tables at `path[]`, is refused whatever it says.
pub(super) fn is_whole(path: &str) -> bool {
    refusal(path.strip_suffix("[]").unwrap_or(path)).is_some()
}

const fn whole(key: &'static str) -> Planned {
    Planned { key }
}
