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

/// The `T` of one node. What it is called stays when nodes come and go.
pub struct One<T> {
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
    /// Makes those of the `nodes` that have none, the newest of which is last. That of a node which is left goes, unless it
    /// `is_needed` still: it holds its node.
    ///
    /// # Errors
    /// That of `make`. What was made stays; the rest is made at the next call.
    pub fn follow<E>(
        &mut self,
        nodes: &[Arc<Node>],
        mut make: impl FnMut(&Arc<Node>) -> Result<T, E>,
        is_needed: impl Fn(&One<T>) -> bool,
    ) -> Result<(), E> {
        self.each.retain(|one| nodes.iter().any(|node| Arc::ptr_eq(node, &one.node)) || is_needed(one));
        for node in nodes {
            if !self.each.iter().any(|one| Arc::ptr_eq(node, &one.node)) {
                let of = make(node)?;
                self.each.push(One { id: self.next, node: Arc::clone(node), of });
                self.next += 1;
            }
        }
        Ok(())
    }

    /// The newest that `is` so.
    pub fn newest(&self, is: impl Fn(&T) -> bool) -> Option<&One<T>> {
        self.each.iter().rev().find(|one| is(&one.of))
    }

    /// That with this name.
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
        let mut made = 0;
        let mut make = |_: &Arc<Node>| {
            made += 1;
            Ok::<_, ()>(made)
        };
        let mut each = PerNode::default();
        each.follow(&nodes[..2], &mut make, |_| false).unwrap();
        each.follow(&nodes[..2], &mut make, |_| false).unwrap();
        let newest = |each: &PerNode<i32>, most| each.newest(|of| *of <= most).map(|one| (one.id, one.of));
        assert_eq!((newest(&each, 9), newest(&each, 1), newest(&each, 0)), (Some((1, 2)), Some((0, 1)), None));
        each.follow(&nodes[1..], &mut make, |one| one.of == 1).unwrap();
        assert_eq!((newest(&each, 9), newest(&each, 1), each.get(1)), (Some((2, 3)), Some((0, 1)), Some(&2)));
        each.follow(&nodes[2..], &mut make, |_| false).unwrap();
        assert_eq!((newest(&each, 2), each.get(2)), (None, Some(&3)));
        assert_eq!(Arc::strong_count(&nodes[0]), 1);
    }
}
