//! The rcl context and the node.

use std::ffi::{CStr, CString, OsStr};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use r2r_rcl::{
    rcl_context_fini, rcl_context_t, rcl_get_zero_initialized_context, rcl_get_zero_initialized_init_options,
    rcl_get_zero_initialized_node, rcl_init, rcl_init_options_fini, rcl_init_options_init, rcl_node_fini,
    rcl_node_get_default_options, rcl_node_get_name, rcl_node_get_namespace, rcl_node_init, rcl_node_t, rcl_shutdown,
    rcutils_get_default_allocator,
};

use super::error::{RosError, check};
use super::{fast_dds, shared_memory};

/// An initialised rcl context. The domain and the discovery range come from the environment, as for every ROS program.
pub(super) struct Context {
    handle: Box<rcl_context_t>,
}

// SAFETY: rcl allows a context to be used from any thread; here only its creation, guard conditions and its end
// touch it.
unsafe impl Send for Context {}
// SAFETY: nothing gives out a mutable reference; rcl guards the shared parts itself.
unsafe impl Sync for Context {}

impl Context {
    fn create() -> Result<Context, RosError> {
        check_domain(std::env::var_os("ROS_DOMAIN_ID").as_deref())?;
        // SAFETY: every structure is zero-initialised by rcl's own function before rcl fills it in, and the context
        // lives in a box, so its address stays.
        unsafe {
            let mut options = rcl_get_zero_initialized_init_options();
            check("Preparing ROS", rcl_init_options_init(&mut options, rcutils_get_default_allocator()))?;
            let mut handle = Box::new(rcl_get_zero_initialized_context());
            let started = check("Starting ROS", rcl_init(0, ptr::null(), &options, handle.as_mut()));
            let cleared = check("Starting ROS", rcl_init_options_fini(&mut options));
            started.and(cleared)?;
            Ok(Context { handle })
        }
    }

    /// The raw handle, for rcl calls that take a mutable pointer and guard it themselves.
    pub(super) fn as_ptr(&self) -> *mut rcl_context_t {
        ptr::from_ref(self.handle.as_ref()).cast_mut()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was initialised, and whoever uses it holds an `Arc` of it, so this is its last use.
        unsafe {
            rcl_shutdown(self.handle.as_mut());
            rcl_context_fini(self.handle.as_mut());
        }
    }
}

/// The bridge's node in the ROS graph.
pub struct Node {
    handle: Box<rcl_node_t>,
    context: Arc<Context>,
}

// SAFETY: nothing of a node belongs to the thread that created it.
unsafe impl Send for Node {}
// SAFETY: asking the graph only reads a node, and the RMW guards what is behind it. Making and ending subscriptions and
// publishers changes the node without a lock of rcl's own, so that is done by one thread at a time
// (`with_exclusive_rcl`). A node ends when its last `Arc` goes, after everything that was created from it.
unsafe impl Sync for Node {}

/// Held while subscriptions and publishers are made and ended.
///
/// Both enter and leave their type in a hash map of their node, which rcl does not lock (rcl/node_type_cache.h), and
/// rcl's functions for default options write to a static variable of the process. So there is one lock for the process.
static MAKING: Mutex<()> = Mutex::new(());

/// How long a thread that ends something waits for one that does not come back from rcl.
const MAKING_HANGS: Duration = Duration::from_secs(1);

/// Runs `make`, which makes a subscription or publisher, while no other thread makes or ends one.
pub(super) fn with_exclusive_rcl<T>(make: impl FnOnce() -> T) -> T {
    // Poison means that a thread has panicked beside rcl, not in it.
    let _held = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    make()
}

/// Runs `end`, which ends a subscription or publisher, while no other thread makes or ends one. Returns `false`, without
/// having run it, when another thread hangs in rcl: what it was to end has to be leaked then, so that the process can
/// stop all the same.
pub(super) fn ended_exclusively(end: impl FnOnce()) -> bool {
    let deadline = Instant::now() + MAKING_HANGS;
    let _held = loop {
        match MAKING.try_lock() {
            Ok(held) => break held,
            Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return false,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    };
    end();
    true
}

impl Node {
    /// Starts ROS in this process and joins the graph as `namespace`/`name`.
    ///
    /// # Errors
    /// When the ROS environment is unusable (no RMW, a wrong `ROS_DOMAIN_ID`) or the name is not one that ROS takes.
    pub fn create(name: &str, namespace: &str) -> Result<Node, RosError> {
        // That there is no shared memory is meant, and no error. On standard output it would stand among what is shown.
        let _hushed = shared_memory::is_asked_for_in_vain().then(fast_dds::hush);
        let context = Arc::new(Context::create()?);
        let name = c_string("The node name", name)?;
        let namespace = c_string("The namespace", namespace)?;
        // SAFETY: the node is zero-initialised by rcl before it is filled in, boxed so that its address stays, and
        // the context outlives it through the `Arc`.
        unsafe {
            let mut handle = Box::new(rcl_get_zero_initialized_node());
            let mut options = rcl_node_get_default_options();
            // The bridge logs to the journal, not to /rosout.
            options.enable_rosout = false;
            check(
                "Creating the ROS node",
                rcl_node_init(handle.as_mut(), name.as_ptr(), namespace.as_ptr(), context.as_ptr(), &options),
            )?;
            Ok(Node { handle, context })
        }
    }

    /// The same node in a context of its own, beside this one.
    pub(super) fn again(&self) -> Result<Node, RosError> {
        // SAFETY: the node is initialised; its names are NUL-terminated, live as long as it does, and are copied.
        let (name, namespace) = unsafe {
            let text = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
            (text(rcl_node_get_name(self.as_ptr())), text(rcl_node_get_namespace(self.as_ptr())))
        };
        Node::create(&name, &namespace)
    }

    pub(super) fn as_ptr(&self) -> *const rcl_node_t {
        self.handle.as_ref()
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`, and subscriptions hold the node, so none is left.
        unsafe {
            rcl_node_fini(self.handle.as_mut());
        }
    }
}

#[cfg(test)]
impl Node {
    /// Shuts its context down: rcl refuses whatever is asked of it from then on.
    pub(crate) fn shut_down(&self) {
        // SAFETY: the context is initialised. That it is shut down again at its end is refused, and changes nothing.
        unsafe { rcl_shutdown(self.context().as_ptr()) };
    }
}

/// A C string of `text`, or an error that names what it was for.
pub(super) fn c_string(what: &'static str, text: &str) -> Result<CString, RosError> {
    CString::new(text).map_err(|_| RosError { doing: what, message: format!("{text:?} holds a NUL byte"), code: 0 })
}

/// Refuses a domain for which there are no UDP ports: Fast DDS ends the process over it.
///
/// 232 is the last whose ports are below 65536 (OMG DDSI-RTPS 2.5, 9.6.2.3: 7400 + 250 × domain + …).
fn check_domain(domain: Option<&OsStr>) -> Result<(), RosError> {
    const LAST: u64 = 232;
    match domain.and_then(OsStr::to_str).unwrap_or_default().parse::<u64>() {
        Ok(domain) if domain > LAST => {
            let message = format!("ROS_DOMAIN_ID is {domain}; allowed is 0 to {LAST}");
            Err(RosError { doing: "Starting ROS", message, code: 0 })
        }
        // What is no number at all rcl refuses itself.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::{Arrivals, Teller};
    use super::super::domain;
    use super::super::publisher::Publisher;
    use super::super::qos::Qos;
    use super::super::subscription::Subscription;
    use super::super::type_support::TypeSupport;
    use super::*;

    /// Long enough for what does not wait to be done.
    const A_WHILE: Duration = Duration::from_millis(300);

    /// Runs `work` while this thread makes or ends something, as far as others can tell; it has to wait until that is over.
    fn waits_for_its_turn<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
        let working = with_exclusive_rcl(|| {
            let working = thread::spawn(work);
            thread::sleep(A_WHILE);
            assert!(!working.is_finished(), "{what} while another thread was at it");
            working
        });
        working.join().unwrap()
    }

    fn publisher(node: &Arc<Node>) -> Publisher {
        Publisher::create(node, "/made", "std_msgs/msg/String").unwrap()
    }

    /// What rcl does not guard is done by one thread at a time: publishers and subscriptions are made and ended in turn.
    #[test]
    fn one_thread_at_a_time_makes_and_ends() {
        domain::enter();
        let node = Arc::new(Node::create("iot_bridge", "").unwrap());
        let made = waits_for_its_turn("a publisher was made", {
            let node = Arc::clone(&node);
            move || publisher(&node)
        });
        waits_for_its_turn("a publisher was ended", move || drop(made));
        let support = Arc::new(TypeSupport::load("std_msgs/msg/String").unwrap());
        let made = waits_for_its_turn("a subscription was made", {
            let node = Arc::clone(&node);
            let qos = Qos { reliable: true, transient_local: false, depth: 1 };
            let teller = Teller { topic: 0, arrivals: Arrivals::of_test() };
            move || Subscription::create(&node, c"/made", &support, qos, &teller).unwrap()
        });
        waits_for_its_turn("a subscription was ended", move || drop(made));
        assert_eq!(Arc::strong_count(&node), 1);
    }

    /// Beside a thread that hangs in rcl a publisher is left as it is, with what it needs, and the process goes on to its
    /// end.
    #[test]
    fn what_can_not_be_ended_is_leaked() {
        domain::enter();
        let node = Arc::new(Node::create("iot_bridge", "").unwrap());
        let publisher = publisher(&node);
        with_exclusive_rcl(|| {
            let ending = thread::spawn(move || drop(publisher));
            ending.join().unwrap();
        });
        assert_eq!(Arc::strong_count(&node), 2);
    }
}
