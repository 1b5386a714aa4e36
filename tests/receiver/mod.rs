//! An OTLP receiver in this process, with every fault that one can have.
#![allow(dead_code, reason = "each test crate uses its part")]

mod grpc;
mod http;
pub(crate) mod rotel;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ScopeMetrics;
use opentelemetry_proto::tonic::trace::v1::Span;
use socket2::{Domain, Socket, Type};

/// How a receiver receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes the spans and the metrics.
    Well,
    /// It takes the spans, and has no place for metrics: 404, over gRPC `UNIMPLEMENTED`.
    SpansOnly,
    /// Nobody listens.
    Absent,
    /// It reads the request and says nothing more for a minute.
    Hang,
    /// It answers with this status; over gRPC, `UNAVAILABLE`.
    Status(u16),
    /// It answers 429 and wants to be left alone for these seconds; over gRPC, `RESOURCE_EXHAUSTED`.
    Throttle(u16),
    /// What it answers is not the protocol.
    Garbage,
    /// It closes the connection in the middle of the request.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Grpc,
}

/// Receives until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    control: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    changed: Condvar,
    spans: Mutex<Vec<Request<ExportTraceServiceRequest>>>,
    metrics: Mutex<Vec<Request<ExportMetricsServiceRequest>>>,
}

/// One request that it took.
#[derive(Debug, Clone)]
pub(crate) struct Request<B> {
    /// In lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: B,
}

impl Receiver {
    pub(crate) fn start(transport: Transport, manner: Manner) -> Self {
        // Bound, and not yet listened on: nobody else can take the place of a receiver that is absent.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let control = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State {
            manner: Mutex::new(manner),
            changed: Condvar::new(),
            spans: Mutex::default(),
            metrics: Mutex::default(),
        };
        let receiver = Self {
            address: socket.local_addr().unwrap().as_socket().unwrap(),
            control: control.local_addr().unwrap(),
            state: Arc::new(state),
        };
        let mut absent = Some(socket);
        if manner != Manner::Absent {
            receiver.listen(transport, absent.take());
        }
        let other = receiver.clone();
        thread::spawn(move || {
            for _ in control.incoming() {
                other.listen(transport, absent.take());
                other.state.behave(Manner::Well);
                // Whoever waits for a connection sees that it behaves now.
                drop(TcpStream::connect(other.address));
            }
        });
        receiver
    }

    fn listen(&self, transport: Transport, socket: Option<Socket>) {
        let Some(socket) = socket else { return };
        socket.listen(128).unwrap();
        let listener = TcpListener::from(socket);
        let state = Arc::clone(&self.state);
        match transport {
            Transport::Http => thread::spawn(move || http::serve(&listener, &state)),
            Transport::Grpc => thread::spawn(move || {
                grpc::misbehave(&listener, &state);
                grpc::serve(listener, state);
            }),
        };
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whoever connects to this makes it receive well from then on.
    pub(crate) fn control(&self) -> String {
        self.control.to_string()
    }

    /// Those of spans.
    pub(crate) fn requests(&self) -> Vec<Request<ExportTraceServiceRequest>> {
        self.state.spans.lock().unwrap().clone()
    }

    pub(crate) fn requests_of_metrics(&self) -> Vec<Request<ExportMetricsServiceRequest>> {
        self.state.metrics.lock().unwrap().clone()
    }

    /// The metrics of the last request.
    pub(crate) fn metrics(&self) -> Vec<ScopeMetrics> {
        let last = self.requests_of_metrics().pop().map(|request| request.body.resource_metrics).unwrap_or_default();
        last.into_iter().flat_map(|resource| resource.scope_metrics).collect()
    }

    /// All spans that it took, in the order in which they started.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let resources = requests.into_iter().flat_map(|request| request.body.resource_spans);
        let mut spans: Vec<_> =
            resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

impl State {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
        self.changed.notify_all();
    }

    /// Waits a minute, or until it receives well.
    fn hang(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut manner = self.manner.lock().unwrap();
        while *manner == Manner::Hang && Instant::now() < end {
            manner = self.changed.wait_timeout(manner, Duration::from_secs(1)).unwrap().0;
        }
    }

    fn take_spans(&self, headers: BTreeMap<String, String>, body: ExportTraceServiceRequest) {
        self.spans.lock().unwrap().push(Request { headers, body });
    }

    fn take_metrics(&self, headers: BTreeMap<String, String>, body: ExportMetricsServiceRequest) {
        self.metrics.lock().unwrap().push(Request { headers, body });
    }
}
