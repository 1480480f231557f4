//! Configuration from the cloud: `[remote]`.

use std::collections::BTreeSet;

use crate::config::settings;
use crate::config::settings::Remote;
use crate::config::walk::Section;

/// Builds the section, if there is one. Returns `None` if the report holds a problem with it.
pub(in crate::config) fn remote(root: &Section) -> Option<Option<Remote>> {
    // A table that is there has the defaults at least.
    if !["remote.shadow", "remote.allow", "remote.confirm", "remote.jobs"].iter().any(|key| root.is_there(key)) {
        return Some(None);
    }
    let shadow = root.text("remote.shadow")?;
    let allow: BTreeSet<_> = root.texts("remote.allow").iter().filter_map(|name| settings::Section::of(name)).collect();
    Some(Some(Remote {
        shadow: shadow.to_owned(),
        allow: allow.into_iter().collect(),
        confirm: root.duration("remote.confirm")?,
        jobs: root.bool("remote.jobs")?,
    }))
}
