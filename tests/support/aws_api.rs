//! The AWS API: moto behind a front of the test's own.
//!
//! The front does what moto does otherwise than AWS: certificates are of the key that was asked for, and signed by an
//! authority that a broker can trust; the endpoint is always the same; the things of a group come in pages; and a job for a
//! group is one for its things, which end it as the test says. It also fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::certificates::{Authority, Valid};
use super::moto::Moto;

pub const REGION: &str = "eu-central-1";
/// The account that moto gives to everybody.
pub const ACCOUNT: &str = "123456789012";

/// moto and its front. Both end with it.
pub struct AwsApi {
    moto: Moto,
    port: u16,
    front: Arc<Front>,
}

struct Front {
    moto: u16,
    authority: Arc<Authority>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `POST /things/thing_0`, the calls to AWS IoT so far.
    calls: Vec<String>,
    /// So many calls are carried out; the last one of them is not answered, and those after it are not heard.
    until: Option<usize>,
    /// Calls whose line contains this are denied.
    denied: Option<String>,
    /// The next call whose line contains this is carried out and not answered.
    lost: Option<String>,
    /// IAM permissions that there are; without it, all.
    allowed: Option<BTreeSet<String>>,
    /// So many calls are answered as AWS does what comes too fast.
    throttled: usize,
    /// What was asked to be made as jobs.
    jobs: Vec<Value>,
    /// What is merged into shadows once they were asked for, by the path: `/things/thing_0/shadow?name=NAME`.
    meanwhile: BTreeMap<String, Value>,
    /// How things stand with their jobs, by their names: the status and its details.
    executions: BTreeMap<String, (String, Value)>,
}

/// Things of a group in one answer, so that few make several pages.
const PAGE: usize = 2;

struct Message {
    /// The request line or the status line.
    first: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl AwsApi {
    /// Starts moto and waits until it answers. Certificates are signed by `authority`.
    pub fn start(authority: Arc<Authority>) -> AwsApi {
        let moto = Moto::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let front = Arc::new(Front { moto: moto.port, authority, state: Mutex::default() });
        let api = AwsApi { moto, port, front: Arc::clone(&front) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let front = Arc::clone(&front);
                thread::spawn(move || front.serve(stream));
            }
        });
        api
    }

    /// Where the front is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on `calls` calls are carried out, the last of them without an answer, and nothing is heard after it.
    pub fn fail_after(&self, calls: usize) {
        let mut state = self.front.state.lock().unwrap();
        state.calls.clear();
        state.until = Some(calls);
    }

    /// Everything is answered again. Returns how many calls there were.
    pub fn heal(&self) -> usize {
        let mut state = self.front.state.lock().unwrap();
        state.until = None;
        std::mem::take(&mut state.calls).len()
    }

    /// Calls whose line (`POST /policies/NAME`) contains `part` are denied; nothing if it is empty.
    pub fn deny(&self, part: &str) {
        self.front.state.lock().unwrap().denied = Some(part.to_owned()).filter(|part| !part.is_empty());
    }

    /// The answer to the next call whose line (`PUT /jobs/NAME`) contains `part` gets lost.
    pub fn lose(&self, part: &str) {
        self.front.state.lock().unwrap().lost = Some(part.to_owned());
    }

    /// From now on there are only these IAM permissions; without any set, all.
    pub fn allow(&self, permissions: Option<BTreeSet<String>>) {
        self.front.state.lock().unwrap().allowed = permissions;
    }

    /// The IAM permissions that the calls so far have needed.
    pub fn actions(&self) -> BTreeSet<String> {
        self.calls().iter().map(|call| action(call)).collect()
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.front.state.lock().unwrap().calls.clone()
    }

    /// Asks moto for `path`.
    pub fn get(&self, path: &str) -> Value {
        let request = Message::request("GET", path, Vec::new());
        serde_json::from_slice(&ask(self.moto.port, &request).unwrap().body).unwrap()
    }

    /// Has moto do something.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Message::request(method, path, body.to_string().into_bytes());
        let answer = ask(self.moto.port, &request).unwrap();
        assert!(answer.is_good(), "{} {}", answer.first, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// The next `calls` calls come too fast.
    pub fn throttle(&self, calls: usize) {
        self.front.state.lock().unwrap().throttled = calls;
    }

    /// The requests that have made jobs.
    pub fn jobs(&self) -> Vec<Value> {
        self.front.state.lock().unwrap().jobs.clone()
    }

    /// From now on `thing` stands so with any job: `FAILED`, with details.
    pub fn execute(&self, thing: &str, status: &str, details: Value) {
        self.front.state.lock().unwrap().executions.insert(thing.to_owned(), (status.to_owned(), details));
    }

    /// The state that the shadow `name` of `thing` holds.
    pub fn shadow(&self, thing: &str, name: &str) -> Value {
        self.get(&format!("/things/{thing}/shadow?name={name}"))["state"].clone()
    }

    /// Has `thing` report in the shadow `name`.
    pub fn report(&self, thing: &str, name: &str, reported: &Value) {
        self.send(
            "POST",
            &format!("/things/{thing}/shadow?name={name}"),
            &json!({ "state": { "reported": reported } }),
        );
    }

    /// Merges `state` into the shadow `name` of `thing` right after it is asked for the next time.
    pub fn meanwhile(&self, thing: &str, name: &str, state: Value) {
        let path = format!("/things/{thing}/shadow?name={name}");
        self.front.state.lock().unwrap().meanwhile.insert(path, state);
    }

    /// The names of everything in the account.
    pub fn everything(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (path, list, name) in [
            ("/things", "things", "thingName"),
            ("/policies", "policies", "policyName"),
            ("/certificates?pageSize=250", "certificates", "certificateId"),
            ("/rules", "rules", "ruleName"),
        ] {
            let answer = self.get(path);
            let names = answer[list].as_array().unwrap().iter();
            all.extend(names.map(|item| format!("{list} {}", item[name].as_str().unwrap())));
        }
        all
    }
}

/// The IAM permission that a call needs, by the request syntax of the API's reference.
fn action(call: &str) -> String {
    let (method, path) = call.split_once(' ').unwrap();
    let parts: Vec<&str> = path.split('?').next().unwrap_or(path).trim_matches('/').split('/').collect();
    let name = match (method, &parts[..]) {
        ("GET", ["endpoint"]) => "DescribeEndpoint",
        ("GET", ["things", _]) => "DescribeThing",
        ("POST", ["things", _]) => "CreateThing",
        ("DELETE", ["things", _]) => "DeleteThing",
        ("GET", ["things", _, "principals"]) => "ListThingPrincipals",
        ("PUT", ["things", _, "principals"]) => "AttachThingPrincipal",
        ("DELETE", ["things", _, "principals"]) => "DetachThingPrincipal",
        ("GET", ["principals", "things"]) => "ListPrincipalThings",
        ("PUT", ["thing-groups", "addThingToThingGroup"]) => "AddThingToThingGroup",
        ("PUT", ["thing-groups", "removeThingFromThingGroup"]) => "RemoveThingFromThingGroup",
        ("GET", ["policies", _]) => "GetPolicy",
        ("POST", ["policies", _]) => "CreatePolicy",
        ("DELETE", ["policies", _]) => "DeletePolicy",
        ("GET", ["policies", _, "version"]) => "ListPolicyVersions",
        ("DELETE", ["policies", _, "version", _]) => "DeletePolicyVersion",
        ("POST", ["policy-targets", _]) => "ListTargetsForPolicy",
        ("PUT", ["target-policies", _]) => "AttachPolicy",
        ("POST", ["target-policies", _]) => "DetachPolicy",
        ("POST", ["attached-policies", ..]) => "ListAttachedPolicies",
        ("POST", ["certificates"]) => "CreateCertificateFromCsr",
        ("POST", ["keys-and-certificate"]) => "CreateKeysAndCertificate",
        ("GET", ["certificates"]) => "ListCertificates",
        ("GET", ["certificates", _]) => "DescribeCertificate",
        ("PUT", ["certificates", _]) => "UpdateCertificate",
        ("DELETE", ["certificates", _]) => "DeleteCertificate",
        ("GET", ["rules", _]) => "GetTopicRule",
        ("POST", ["rules", _]) => "CreateTopicRule",
        ("PATCH", ["rules", _]) => "ReplaceTopicRule",
        ("DELETE", ["rules", _]) => "DeleteTopicRule",
        ("GET", ["things", _, "shadow"]) => "GetThingShadow",
        ("POST", ["things", _, "shadow"]) => "UpdateThingShadow",
        ("GET", ["thing-groups", _, "things"]) => "ListThingsInThingGroup",
        ("PUT", ["jobs", _]) => "CreateJob",
        ("GET", ["jobs", _]) => "DescribeJob",
        ("GET", ["jobs", _, "things"]) => "ListJobExecutionsForJob",
        ("GET", ["things", _, "jobs", _]) => "DescribeJobExecution",
        _ => panic!("a call that is not known here: {call}"),
    };
    format!("iot:{name}")
}

impl Front {
    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Ok(request) = Message::read(&mut reader) else { return };
        let mut words = request.first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if request.headers.iter().any(|header| header.contains("/sts/aws4_request")) {
            let _ = ask(self.moto, &request).and_then(|answer| answer.write(&mut stream));
            return;
        }
        let line = format!("{method} {path}");
        let (last, denied, throttled) = {
            let mut state = self.state.lock().unwrap();
            if state.until.is_some_and(|until| state.calls.len() >= until) {
                return;
            }
            state.calls.push(line.clone());
            let denied = state.denied.as_ref().is_some_and(|part| line.contains(part))
                || state.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&action(&line)));
            let throttled = state.throttled > 0;
            state.throttled = state.throttled.saturating_sub(1);
            let is_lost = state.lost.take_if(|part| line.contains(part.as_str())).is_some();
            (is_lost || state.until == Some(state.calls.len()), denied, throttled)
        };
        let answer = match (denied, throttled) {
            (true, _) => {
                Ok(Message::refused("403 Forbidden", "AccessDeniedException", "User: robot is not authorized"))
            }
            (_, true) => Ok(Message::refused("429 Too Many Requests", "ThrottlingException", "Rate exceeded")),
            (false, false) => self.answer(method, path, &request),
        };
        let asked = Some(path).filter(|_| method == "GET");
        let meanwhile = asked.and_then(|path| self.state.lock().unwrap().meanwhile.remove(path));
        if let Some(state) = meanwhile {
            let body = json!({ "state": state }).to_string().into_bytes();
            let _ = ask(self.moto, &Message::request("POST", path, body));
        }
        if let Ok(answer) = answer
            && !last
        {
            let _ = answer.write(&mut stream);
        }
    }

    fn answer(&self, method: &str, path: &str, request: &Message) -> io::Result<Message> {
        let active = path.contains("setAsActive=true");
        match (method, path.split('?').next().unwrap_or(path)) {
            ("GET", "/endpoint") => Ok(Message::answer(&json!({ "endpointAddress": "localhost" }))),
            ("POST", "/certificates") => {
                let body: Value = serde_json::from_slice(&request.body)?;
                let pem = self.authority.sign(body["certificateSigningRequest"].as_str().unwrap()).unwrap();
                self.register(&pem, active).map(|answer| Message::answer(&answer))
            }
            ("POST", "/keys-and-certificate") => {
                let key = KeyPair::generate().unwrap();
                let private = key.serialize_pem();
                let identity = self.authority.issue_for(key, &["AWS IoT Certificate"], Valid::Now);
                let mut answer = self.register(&identity.certificate, active)?;
                answer["keyPair"] = json!({ "PublicKey": "not looked at", "PrivateKey": private });
                Ok(Message::answer(&answer))
            }
            ("GET", bare) if bare.starts_with("/thing-groups/") && bare.ends_with("/things") => {
                let answer = ask(self.moto, &Message::request("GET", bare, Vec::new()))?;
                if !answer.is_good() {
                    return Ok(answer);
                }
                let from = path.split("nextToken=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok());
                Ok(Message::answer(&page(&serde_json::from_slice(&answer.body)?, from.unwrap_or(0))))
            }
            ("PUT", bare) if bare.starts_with("/jobs/") => {
                if ask(self.moto, &Message::request("GET", bare, Vec::new()))?.is_good() {
                    return Ok(Message::refused(
                        "409 Conflict",
                        "ResourceAlreadyExistsException",
                        "Job already exists",
                    ));
                }
                let mut job: Value = serde_json::from_slice(&request.body)?;
                self.state.lock().unwrap().jobs.push(job.clone());
                let targets = job["targets"].as_array().cloned().unwrap_or_default();
                job["targets"] = targets.into_iter().flat_map(|target| self.things_of(&target)).collect();
                ask(self.moto, &Message::request("PUT", bare, job.to_string().into_bytes()))
            }
            ("GET", bare) if bare.contains("/jobs/") || bare.starts_with("/jobs/") && bare.ends_with("/things") => {
                let answer = ask(self.moto, request)?;
                if !answer.is_good() {
                    return Ok(answer);
                }
                let mut value: Value = serde_json::from_slice(&answer.body)?;
                let state = self.state.lock().unwrap();
                executed(&mut value["execution"], &state.executions);
                for summary in value["executionSummaries"].as_array_mut().into_iter().flatten() {
                    executed(summary, &state.executions);
                }
                Ok(Message::answer(&value))
            }
            _ => ask(self.moto, request),
        }
    }

    /// The things that a target of a job stands for.
    fn things_of(&self, target: &Value) -> Vec<Value> {
        let arn = target.as_str().unwrap_or_default();
        let Some((prefix, group)) = arn.split_once("thinggroup/") else { return vec![target.clone()] };
        let request = Message::request("GET", &format!("/thing-groups/{group}/things"), Vec::new());
        let answer: Value = serde_json::from_slice(&ask(self.moto, &request).unwrap().body).unwrap();
        let things = answer["things"].as_array().cloned().unwrap_or_default();
        things.iter().map(|thing| format!("{prefix}thing/{}", thing.as_str().unwrap_or_default()).into()).collect()
    }

    /// Has moto know a certificate.
    fn register(&self, pem: &str, active: bool) -> io::Result<Value> {
        let status = if active { "ACTIVE" } else { "INACTIVE" };
        let body = json!({ "certificatePem": pem, "status": status }).to_string();
        let answer = ask(self.moto, &Message::request("POST", "/certificate/register-no-ca", body.into_bytes()))?;
        let mut answer: Value = serde_json::from_slice(&answer.body)?;
        answer["certificatePem"] = pem.into();
        Ok(answer)
    }
}

/// The things of a group from number `from` on, as many as an answer has.
fn page(answer: &Value, from: usize) -> Value {
    let all = answer["things"].as_array().cloned().unwrap_or_default();
    let end = all.len().min(from + PAGE);
    let next = (end < all.len()).then(|| end.to_string());
    json!({ "things": all[from.min(end)..end], "nextToken": next })
}

/// Says of a job's execution what the test wants it to be.
fn executed(execution: &mut Value, executions: &BTreeMap<String, (String, Value)>) {
    let thing = execution["thingArn"].as_str().and_then(|arn| arn.rsplit_once('/'));
    let Some((status, details)) = thing.and_then(|(_, thing)| executions.get(thing)) else { return };
    match execution.get_mut("jobExecutionSummary") {
        Some(summary) => summary["status"] = status.as_str().into(),
        None => {
            execution["status"] = status.as_str().into();
            execution["statusDetails"] = json!({ "detailsMap": details });
        }
    }
}

impl Message {
    /// A request that moto takes for one to AWS IoT in [`REGION`], or to its data plane if it is about a shadow.
    fn request(method: &str, path: &str, body: Vec<u8>) -> Message {
        let service = if path.contains("/shadow?") { "iotdata" } else { "iot" };
        let authorization = format!(
            "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, \
             Signature=0"
        );
        let headers = vec!["Host: localhost".into(), authorization, "Content-Type: application/json".into()];
        Message { first: format!("{method} {path} HTTP/1.1"), headers, body }
    }

    /// Whether an answer is not an error.
    fn is_good(&self) -> bool {
        self.first.contains(" 200 ")
    }

    fn answer(value: &Value) -> Message {
        let headers = vec!["Content-Type: application/json".into()];
        Message { first: "HTTP/1.1 200 OK".into(), headers, body: value.to_string().into_bytes() }
    }

    fn refused(status: &str, error: &str, message: &str) -> Message {
        let headers = vec!["Content-Type: application/json".into(), format!("x-amzn-ErrorType: {error}")];
        let body = json!({ "message": message }).to_string().into_bytes();
        Message { first: format!("HTTP/1.1 {status}"), headers, body }
    }

    fn read(reader: &mut impl BufRead) -> io::Result<Message> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.remove(0);
        let length = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Message { first, headers: lines, body })
    }

    fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first).into_bytes();
        let other = |header: &&String| {
            let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
            name != "content-length" && name != "connection"
        };
        for header in self.headers.iter().filter(other) {
            text.extend(format!("{header}\r\n").bytes());
        }
        text.extend(format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()).bytes());
        text.extend(&self.body);
        writer.write_all(&text)
    }
}

/// Asks moto, one call at a time: where one of its threads looks through the certificates while another adds one, it answers
/// with 500.
fn ask(port: u16, request: &Message) -> io::Result<Message> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    request.write(&mut stream)?;
    Message::read(&mut BufReader::new(stream))
}
