//! A generic client: calls a service of any type, with requests and responses as CDR bytes.
//!
//! rcl takes and gives requests and responses as C structures alone. So a request's bytes become such a structure, by its
//! type's own functions and the RMW, and the response's structure becomes bytes in the same way.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use r2r_rcl::{
    RCL_RET_CLIENT_TAKE_FAILED, rcl_client_fini, rcl_client_get_default_options, rcl_client_init,
    rcl_client_set_on_new_response_callback, rcl_client_t, rcl_get_zero_initialized_client, rcl_ret_t,
    rcl_send_request, rcl_service_server_is_available, rcl_take_response, rmw_request_id_t,
};

use super::arrivals::OnArrival;
use super::buffer::Buffer;
use super::context::{Node, c_string, ended_exclusively, with_exclusive_rcl};
use super::error::{RosError, check, take_error_text};
use super::message::{Message, no_functions};
use super::service_type::ServiceType;
use super::subscription::is_supported;

/// Calls that may be under way on one client. So many responses wait in DDS for who takes them; those to other clients of
/// the service come by as well.
pub const MOST_CALLS: usize = 100;

/// Calls one service, on one node.
pub struct Client {
    handle: Box<rcl_client_t>,
    /// Responses that DDS has told of and that were not looked for yet.
    untaken: usize,
    /// DDS has its address until the callback is taken back.
    told: Arc<Told>,
    buffer: Buffer,
    node: Arc<Node>,
    /// Holds the type support that `handle` points to.
    service_type: Arc<ServiceType>,
}

/// What DDS tells of.
struct Told {
    responses: AtomicUsize,
    wake: OnArrival,
}

/// For DDS: the client of the [`Told`] that `told` points to has `count` responses more.
///
/// # Safety
/// `told` has to point to a living `Told`.
unsafe extern "C" fn on_response(told: *const c_void, count: usize) {
    // SAFETY: the caller's promise. It is shared between threads, and everything in it is made for that.
    let told = unsafe { &*told.cast::<Told>() };
    told.responses.fetch_add(count, Ordering::AcqRel);
    (told.wake)();
}

// SAFETY: used by one thread at a time, to which it may be moved.
unsafe impl Send for Client {}

impl Client {
    /// A client of `service`, an absolute name. `wake` is called when there are responses to be taken.
    ///
    /// # Errors
    /// rcl's own.
    pub fn create(
        node: &Arc<Node>,
        service: &str,
        service_type: &Arc<ServiceType>,
        wake: &OnArrival,
    ) -> Result<Client, RosError> {
        let service: CString = c_string("The service name", service)?;
        let buffer = Buffer::new()?;
        // SAFETY: zero-initialised by rcl, then filled in; boxed so that its address stays; node and type support are
        // kept beside it.
        let handle = with_exclusive_rcl(|| unsafe {
            let mut options = rcl_client_get_default_options();
            options.qos.depth = MOST_CALLS;
            let mut handle = Box::new(rcl_get_zero_initialized_client());
            let code =
                rcl_client_init(handle.as_mut(), node.as_ptr(), service_type.handle(), service.as_ptr(), &options);
            check("Creating a service client", code).map(|()| handle)
        })?;
        let told = Arc::new(Told { responses: AtomicUsize::new(0), wake: Arc::clone(wake) });
        let (node, service_type) = (Arc::clone(node), Arc::clone(service_type));
        let client = Client { handle, untaken: 0, told, buffer, node, service_type };
        // SAFETY: the client holds what it tells, and takes its address back from DDS before either goes.
        let code = unsafe {
            let told = Arc::as_ptr(&client.told).cast();
            rcl_client_set_on_new_response_callback(client.handle.as_ref(), Some(on_response), told)
        };
        // Where the RMW does not tell, responses are found when somebody looks.
        is_supported("Having responses told", code)?;
        Ok(client)
    }

    /// Whether there is a server, and it would get what is sent.
    ///
    /// # Errors
    /// rcl's own.
    pub fn is_available(&self) -> Result<bool, RosError> {
        let mut is_available = false;
        // SAFETY: both are initialised; rcl only reads them, and writes to the flag.
        check("Looking for a service's server", unsafe {
            rcl_service_server_is_available(self.node.as_ptr(), self.handle.as_ref(), &mut is_available)
        })?;
        Ok(is_available)
    }

    /// Sends the request `cdr`, encapsulation header included. Returns the number by which its response is known.
    ///
    /// # Errors
    /// rcl's own, also for bytes that are no request.
    pub fn call(&self, cdr: &[u8]) -> Result<i64, RosError> {
        let request = Message::from_cdr(self.service_type.request(), cdr)?;
        let mut number = 0;
        // SAFETY: the request is an initialised structure of the client's type, which rcl only reads.
        check("Calling a service", unsafe { rcl_send_request(self.handle.as_ref(), request.as_ptr(), &mut number) })?;
        Ok(number)
    }

    /// Whether DDS has told of responses that were not taken yet.
    pub fn has_untaken(&self) -> bool {
        self.untaken > 0 || self.told.responses.load(Ordering::Acquire) > 0
    }

    /// Takes the next response, if there is one: the number of its call, and its bytes with an encapsulation header.
    ///
    /// # Errors
    /// rcl's own.
    pub fn take(&mut self) -> Result<Option<(i64, &[u8])>, RosError> {
        loop {
            self.untaken = self.untaken.saturating_add(self.told.responses.swap(0, Ordering::AcqRel));
            // What a structure holds already would be given back by the RMW as well; with a new one nobody has to rely on that.
            let service_type = Arc::clone(&self.service_type);
            let response = service_type.response();
            let mut message = Message::new(response).ok_or_else(|| no_functions(response))?;
            let mut id = rmw_request_id_t { writer_guid: [0; _], sequence_number: 0 };
            // SAFETY: the response is an initialised structure of the client's type, whose content rcl may replace.
            let code = unsafe { rcl_take_response(self.handle.as_ref(), &mut id, message.as_mut_ptr()) };
            let looked = self.untaken > 0;
            self.untaken = self.untaken.saturating_sub(1);
            if code == RCL_RET_CLIENT_TAKE_FAILED as rcl_ret_t {
                take_error_text();
                // It may have been one to another client, behind which there are more.
                if looked {
                    continue;
                }
                return Ok(None);
            }
            #[cfg(test)]
            tests::fail()?;
            check("Taking a response", code)?;
            message.write_cdr(&mut self.buffer)?;
            return Ok(Some((id.sequence_number, self.buffer.bytes())));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`, ended once; nobody else changes the node meanwhile. RMWs call back under the lock
        // under which they take a callback back, so that none runs any more when that returns.
        let ended = ended_exclusively(|| unsafe {
            rcl_client_set_on_new_response_callback(self.handle.as_ref(), None, ptr::null());
            rcl_client_fini(self.handle.as_mut(), self.node.as_ptr().cast_mut());
            take_error_text();
        });
        if !ended {
            // DDS goes on using all of them.
            std::mem::forget((Arc::clone(&self.node), Arc::clone(&self.service_type), Arc::clone(&self.told)));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use iot_bridge_core::codec::{Decoder, Encoder, JsonBuffer};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// So many responses and messages that are taken from now on can't be read: by clients, and by readers.
    pub(crate) static UNREADABLE: AtomicUsize = AtomicUsize::new(0);

    pub(in crate::ros) fn fail() -> Result<(), RosError> {
        let left = UNREADABLE.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        let error = || RosError { doing: "Taking something", message: "it is a test".to_owned(), code: 1 };
        left.map_or(Ok(()), |_| Err(error()))
    }

    impl Client {
        /// Of how many responses DDS has told that were not taken yet.
        pub(crate) fn untaken(&self) -> usize {
            self.untaken + self.told.responses.load(Ordering::Acquire)
        }
    }

    /// rclpy's servers of a test, in a process of their own, and what wakes a client.
    struct Bench {
        server: Child,
        node: Arc<Node>,
        wake: OnArrival,
        woken: mpsc::Receiver<()>,
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }

    impl Bench {
        /// With the servers that `create` makes on `node`, in Python.
        fn with(create: &str) -> Bench {
            crate::ros::domain::enter();
            let program = format!(
                "import rclpy\nrclpy.init()\nnode = rclpy.create_node('servers')\nwaiting = []\n{create}\nrclpy.spin(node)\n"
            );
            let server = Command::new("python3").args(["-c", &program]).stdin(Stdio::null()).spawn().unwrap();
            let (waker, woken) = mpsc::channel();
            let node = Arc::new(Node::create("iot_bridge", "").unwrap());
            Bench { server, node, wake: Arc::new(move || waker.send(()).unwrap_or_default()), woken }
        }

        fn client(&self, service: &str, type_name: &str) -> Client {
            let service_type = Arc::new(ServiceType::load(type_name).unwrap());
            let client = Client::create(&self.node, service, &service_type, &self.wake).unwrap();
            self.until("a server", || client.is_available().unwrap());
            client
        }

        fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
            let deadline = Instant::now() + PATIENCE;
            while !is() {
                assert!(Instant::now() < deadline, "there is no {what}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        /// The next response, which the client is woken for.
        fn response(&self, client: &mut Client) -> (i64, String) {
            let decoder = Decoder::new(client.service_type.response().schema().clone()).unwrap();
            loop {
                if let Some((number, cdr)) = client.take().unwrap() {
                    let mut out = JsonBuffer::new(1 << 20);
                    decoder.write_json(cdr, &mut out).unwrap();
                    return (number, String::from_utf8(out.as_bytes().to_vec()).unwrap());
                }
                self.woken.recv_timeout(PATIENCE).expect("nothing wakes the client");
            }
        }
    }

    fn request(client: &Client, json: &str) -> Vec<u8> {
        let support = client.service_type.request();
        let encoder = Encoder::new(support.schema(), &support.defaults().unwrap(), &[]).unwrap();
        let mut cdr = Vec::new();
        encoder.encode(json.as_bytes(), &mut cdr).unwrap();
        cdr
    }

    /// Requests and responses with every type of field, with texts, messages and arrays of both, reach an rclpy server and come
    /// back whole; a service without fields works alike.
    #[test]
    fn a_server_gets_what_is_sent_and_its_response_comes_back() {
        let bench = Bench::with(concat!(
            "from test_msgs.srv import Arrays, Empty\n",
            "def echo(request, response):\n",
            "    for field in request.get_fields_and_field_types():\n",
            "        setattr(response, field, getattr(request, field))\n",
            "    response.string_values = [text[::-1] for text in request.string_values]\n",
            "    return response\n",
            "kept = [node.create_service(Arrays, '/echo', echo),\n",
            "    node.create_service(Empty, '/empty', lambda request, response: response)]",
        ));
        let mut echo = bench.client("/echo", "test_msgs/srv/Arrays");
        let json = concat!(
            r#"{"string_values":["über","b","ñandú"],"basic_types_values":[{"int64_value":-9007199254740993},{},{}],"#,
            r#""uint8_values":"AQID","float64_values":[0.1,null,-1e-300]}"#
        );
        let number = echo.call(&request(&echo, json)).unwrap();
        let (of, response) = bench.response(&mut echo);
        assert_eq!(of, number);
        for wanted in [
            r#""string_values":["rebü","b","údnañ"]"#,
            r#""int64_value":-9007199254740993"#,
            r#""uint8_values":"AQID""#,
            r#""float64_values":[0.1,null,-1e-300]"#,
            r#""string_values_default":["","max value","min value"]"#,
        ] {
            assert!(response.contains(wanted), "{wanted} is not in {response}");
        }
        let mut empty = bench.client("/empty", "test_msgs/srv/Empty");
        let number = empty.call(&request(&empty, "{}")).unwrap();
        assert_eq!(bench.response(&mut empty), (number, "{}".to_owned()));
    }

    /// Twenty calls are under way at a time, and the server answers the last first; those of another client of the same service,
    /// whose responses come by, hide none.
    #[test]
    fn responses_find_their_calls_whatever_their_order() {
        let bench = Bench::with(concat!(
            "from std_srvs.srv import SetBool\n",
            "from rclpy.qos import QoSProfile\n",
            "from rclpy.callback_groups import ReentrantCallbackGroup\n",
            "held = []\n",
            "async def hold(request, response):\n",
            "    response.success = request.data\n",
            "    response.message = str(len(held))\n",
            "    future = rclpy.task.Future()\n",
            "    held.append(future)\n",
            "    if len(held) == 40:\n",
            "        for future in reversed(held): future.set_result(None)\n",
            "    await held[int(response.message)]\n",
            "    return response\n",
            "kept = node.create_service(SetBool, '/hold', hold, qos_profile=QoSProfile(depth=100),\n",
            "    callback_group=ReentrantCallbackGroup())",
        ));
        let [mut one, mut other] = [(); 2].map(|()| bench.client("/hold", "std_srvs/srv/SetBool"));
        let (yes, no) = (request(&one, r#"{"data":true}"#), request(&one, "{}"));
        let mut calls = std::collections::HashMap::new();
        for at in 0..20 {
            let is_yes = at % 2 == 0;
            let number = one.call(if is_yes { &yes } else { &no }).unwrap();
            assert!(calls.insert(number, is_yes).is_none());
            other.call(&no).unwrap();
        }
        // Each is told of all responses, and takes those to itself.
        bench.until("responses", || {
            [&one, &other].iter().all(|client| client.told.responses.load(Ordering::Acquire) >= 40)
        });
        while bench.woken.try_recv().is_ok() {}
        while !calls.is_empty() {
            let (number, response) = bench.response(&mut one);
            let is_yes = calls.remove(&number).expect("a response to no call");
            assert!(response.starts_with(&format!("{{\"success\":{is_yes},")), "{response}");
        }
        for _ in 0..20 {
            assert!(bench.response(&mut other).1.starts_with("{\"success\":false,"));
        }
        assert!(one.take().unwrap().is_none() && other.take().unwrap().is_none());
    }

    /// What is no request is an error of the call alone, and a server that goes is available no more.
    #[test]
    fn bytes_of_no_request_are_refused_and_a_server_that_goes_is_missed() {
        let mut bench = Bench::with(concat!(
            "from std_srvs.srv import SetBool\n",
            "import sys, threading\n",
            "kept = node.create_service(SetBool, '/a', lambda request, response: response)",
        ));
        let mut client = bench.client("/a", "std_srvs/srv/SetBool");
        assert!(
            client.call(&[0, 1, 0, 0]).unwrap_err().to_string().starts_with("Making a message of its bytes failed")
        );
        let number = client.call(&request(&client, "{}")).unwrap();
        assert_eq!(bench.response(&mut client).0, number);
        rustix::process::kill_process(rustix::process::Pid::from_child(&bench.server), rustix::process::Signal::INT)
            .unwrap();
        bench.server.wait().unwrap();
        bench.until("end of the server", || !client.is_available().unwrap());
    }

    /// A client that ends while responses are on their way takes what DDS knows of it along, and so do clients one after the other.
    #[test]
    fn a_client_ends_while_responses_come() {
        let bench = Bench::with(concat!(
            "from std_srvs.srv import SetBool\n",
            "kept = node.create_service(SetBool, '/a', lambda request, response: response)",
        ));
        let before = Arc::strong_count(&bench.wake);
        for _ in 0..3 {
            let client = bench.client("/a", "std_srvs/srv/SetBool");
            let request = request(&client, "{}");
            for _ in 0..10 {
                client.call(&request).unwrap();
            }
            drop(client);
            assert_eq!((Arc::strong_count(&bench.wake), Arc::strong_count(&bench.node)), (before, 1));
        }
    }
}
