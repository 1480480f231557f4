//! One of something in each of the bridge's nodes.
//!
//! After a change of the robot's addresses the bridge has several nodes, the newest of which may not know all of the robot's
//! own servers: see [`joined`](super::joined). A server is called from the newest node that knows it.

use std::sync::Arc;

use super::context::Node;

/// One `T` in each of the bridge's nodes.
pub struct PerNode<T> {
    /// In the order of the nodes, the oldest first.
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

    /// That of `node`, one of `nodes`. It takes its place before those of newer nodes.
    pub fn add(&mut self, node: Arc<Node>, of: T, nodes: &[Arc<Node>]) {
        let age = |of: &Arc<Node>| nodes.iter().position(|node| Arc::ptr_eq(node, of));
        // One whose node is left is older than all of them.
        let at = self.each.iter().position(|one| age(&one.node) > age(&node)).unwrap_or(self.each.len());
        self.each.insert(at, One { id: self.next, node, of });
        self.next += 1;
    }

    /// Takes out those of other nodes than `nodes`, unless they are needed still: each holds its node. Their end may take long.
    pub fn leave(&mut self, nodes: &[Arc<Node>], is_needed: impl Fn(&One<T>) -> bool) -> Vec<One<T>> {
        let is_left = |one: &One<T>| !nodes.iter().any(|node| Arc::ptr_eq(node, &one.node));
        self.each.extract_if(.., |one| is_left(one) && !is_needed(one)).collect()
    }

    /// The newest that `is` so.
    pub fn newest(&self, is: impl Fn(&T) -> bool) -> Option<&One<T>> {
        self.each.iter().rev().find(|one| is(&one.of))
    }

    /// That which is known by `id`.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.each.iter().find(|one| one.id == id).map(|one| &one.of)
    }

    /// As [`get`](Self::get), to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.each.iter_mut().find(|one| one.id == id).map(|one| &mut one.of)
    }

    /// What all of them are known by, the oldest first.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.each.iter().map(|one| one.id)
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
            each.add(missing, of, &nodes);
        }
        assert!(each.missing(&nodes[..2]).is_empty());
        assert_eq!((newest(&each, 9), newest(&each, 1), newest(&each, 0)), (Some((1, 2)), Some((0, 1)), None));
        assert!(each.leave(&nodes[1..], |one| one.of == 1).is_empty());
        each.add(each.missing(&nodes[1..]).remove(0), 3, &nodes);
        assert_eq!((newest(&each, 9), newest(&each, 1), each.get(1)), (Some((2, 3)), Some((0, 1)), Some(&2)));
        let left = each.leave(&nodes[2..], |_| false);
        assert_eq!((newest(&each, 2), each.get(2)), (None, Some(&3)));
        assert_eq!(left.iter().map(|one| one.of).collect::<Vec<_>>(), [1, 2]);
        drop(left);
        assert_eq!(Arc::strong_count(&nodes[0]), 1);
    }

    /// What was made late in an older node, because it could not be had before, is not taken for the newest; what is of a node
    /// that is left stays the oldest.
    #[test]
    fn the_order_is_that_of_the_nodes() {
        let nodes = [(); 4].map(|()| Arc::new(Node::create("iot_bridge", "").unwrap()));
        let mut each = PerNode::default();
        for at in [0, 3, 1, 2] {
            each.add(Arc::clone(&nodes[at]), at, &nodes[1..]);
        }
        assert_eq!(each.iter_mut().map(|one| one.of).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
