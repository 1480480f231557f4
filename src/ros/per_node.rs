//! One of something in each of the bridge's nodes.
//!
//! After a change of the robot's addresses the bridge has several nodes, the newest of which may not know all of the robot's
//! own servers: see [`joined`](super::joined). A server is called from the newest node that knows it.

use std::sync::Arc;

use super::context::Node;

/// One `T` in each of the bridge's nodes.
pub struct PerNode<T> {
    /// The oldest node first.
    each: Vec<One<T>>,
    next: u64,
}

/// The `T` of one node.
pub struct One<T> {
    /// What it is known by; stays when nodes come and go.
    pub id: u64,
    node: Arc<Node>,
    pub of: T,
}

impl<T> Default for PerNode<T> {
    fn default() -> Self {
        PerNode { each: Vec::new(), next: 0 }
    }
}

impl<T> PerNode<T> {
    /// Those of `nodes` that have none, in their order.
    pub fn missing(&self, nodes: &[Arc<Node>]) -> Vec<Arc<Node>> {
        let has_none = |node: &&Arc<Node>| !self.each.iter().any(|one| Arc::ptr_eq(node, &one.node));
        nodes.iter().filter(has_none).cloned().collect()
    }

    /// That of `node`, which is newer than those that have one.
    pub fn add(&mut self, node: Arc<Node>, of: T) {
        self.each.push(One { id: self.next, node, of });
        self.next += 1;
    }

    /// Those of other nodes than `nodes` go, unless they are needed still: each holds its node.
    pub fn leave(&mut self, nodes: &[Arc<Node>], is_needed: impl Fn(&One<T>) -> bool) {
        self.each.retain(|one| nodes.iter().any(|node| Arc::ptr_eq(node, &one.node)) || is_needed(one));
    }

    /// The newest that `is` so.
    pub fn newest(&self, is: impl Fn(&T) -> bool) -> Option<&One<T>> {
        self.each.iter().rev().find(|one| is(&one.of))
    }

    /// That which is known by `id`.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.each.iter().find(|one| one.id == id).map(|one| &one.of)
    }

    /// All of them, the oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut One<T>> {
        self.each.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node has one of its own, the newest of those that are so is found, and one whose node is left stays while it is needed.
    #[test]
    fn each_node_has_one() {
        let nodes = [(); 3].map(|()| Arc::new(Node::create("iot_bridge", "").unwrap()));
        let mut each = PerNode::default();
        let newest = |each: &PerNode<i32>, most| each.newest(|of| *of <= most).map(|one| (one.id, one.of));
        for (missing, of) in each.missing(&nodes[..2]).into_iter().zip(1..) {
            each.add(missing, of);
        }
        assert!(each.missing(&nodes[..2]).is_empty());
        assert_eq!((newest(&each, 9), newest(&each, 1), newest(&each, 0)), (Some((1, 2)), Some((0, 1)), None));
        each.leave(&nodes[1..], |one| one.of == 1);
        each.add(each.missing(&nodes[1..]).remove(0), 3);
        assert_eq!((newest(&each, 9), newest(&each, 1), each.get(1)), (Some((2, 3)), Some((0, 1)), Some(&2)));
        each.leave(&nodes[2..], |_| false);
        assert_eq!((newest(&each, 2), each.get(2)), (None, Some(&3)));
        assert_eq!(Arc::strong_count(&nodes[0]), 1);
    }
}
