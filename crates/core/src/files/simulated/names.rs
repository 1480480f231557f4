//! What is in the directories: as it is listed now, and as the disk may hold it.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::Surviving;

pub type FileId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    File(FileId),
    Directory,
}

type Tree = BTreeMap<String, Node>;

/// Everything by its whole path: directories are neither renamed nor removed.
#[derive(Debug, Clone)]
pub struct Names {
    current: Tree,
    /// What is on the disk for certain. What stands in a directory that is not is not reached from the root.
    durable: Tree,
    /// What has not been synced, in order.
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
pub enum Change {
    Add { path: String, node: Node },
    Rename { from: String, to: String },
    Remove { path: String },
}

impl Change {
    fn apply(&self, tree: &mut Tree) {
        match self {
            Change::Add { path, node } => {
                tree.insert(path.clone(), *node);
            }
            Change::Rename { from, to } => {
                if let Some(node) = tree.remove(from) {
                    tree.insert(to.clone(), node);
                }
            }
            Change::Remove { path } => {
                tree.remove(path);
            }
        }
    }

    /// In which something changes, each once.
    fn directories(&self) -> Vec<&str> {
        match self {
            Change::Add { path, .. } | Change::Remove { path } => vec![parent(path)],
            Change::Rename { from, to } if parent(from) == parent(to) => vec![parent(from)],
            Change::Rename { from, to } => vec![parent(from), parent(to)],
        }
    }
}

impl Default for Names {
    /// The root alone.
    fn default() -> Self {
        let root = Tree::from([(String::new(), Node::Directory)]);
        Names { current: root.clone(), durable: root, changes: Vec::new() }
    }
}

impl Names {
    pub fn get(&self, path: &str) -> Option<Node> {
        self.current.get(path).copied()
    }

    pub fn current(&self) -> impl Iterator<Item = (&str, Node)> {
        self.current.iter().map(|(path, node)| (path.as_str(), *node))
    }

    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }

    /// Makes the changes of a directory last, with those of others that they need: a rename from or to there, and what
    /// came before it at its other end.
    pub fn sync(&mut self, directory: &str) {
        let mut synced = BTreeSet::from([directory.to_owned()]);
        let mut lasting = Vec::new();
        let mut waiting = Vec::new();
        for change in self.changes.drain(..).rev() {
            if change.directories().iter().any(|directory| synced.contains(*directory)) {
                synced.extend(change.directories().into_iter().map(str::to_owned));
                lasting.push(change);
            } else {
                waiting.push(change);
            }
        }
        lasting.iter().rev().for_each(|change| change.apply(&mut self.durable));
        waiting.reverse();
        self.changes = waiting;
    }

    /// The files that have a name, or may have one after a power cut.
    pub fn files(&self) -> BTreeSet<FileId> {
        let added = self.changes.iter().filter_map(|change| match change {
            Change::Add { node, .. } => Some(node),
            Change::Rename { .. } | Change::Remove { .. } => None,
        });
        let nodes = self.current.values().chain(self.durable.values()).chain(added);
        nodes.filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None }).collect()
    }

    /// As the disk holds them when the power is back: of each directory, the first so many changes.
    pub fn after_power_cut(&self, surviving: Surviving, rng: &mut impl Rng) -> Names {
        let mut left = BTreeMap::new();
        for directory in self.changes.iter().flat_map(Change::directories) {
            *left.entry(directory).or_insert(0) += 1;
        }
        for left in left.values_mut() {
            *left = match surviving {
                Surviving::None => 0,
                Surviving::All => usize::MAX,
                Surviving::Some => rng.gen_range(0..=*left),
            };
        }
        let mut held = self.durable.clone();
        for change in &self.changes {
            let directories = change.directories();
            if directories.iter().all(|directory| left[directory] > 0) {
                change.apply(&mut held);
                left.extend(directories.iter().map(|directory| (*directory, left[directory] - 1)).collect::<Vec<_>>());
            } else {
                left.extend(directories.iter().map(|directory| (*directory, 0)));
            }
        }
        // Parents come before what is in them.
        let mut reached = Tree::new();
        for (path, node) in held {
            if path.is_empty() || reached.get(parent(&path)) == Some(&Node::Directory) {
                reached.insert(path, node);
            }
        }
        Names { current: reached.clone(), durable: reached, changes: Vec::new() }
    }
}

/// The directory in which `path` stands.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The last part of `path`.
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
