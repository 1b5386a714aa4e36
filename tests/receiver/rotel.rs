//! rotel, a collector that is not ours, between a program and a receiver.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Receiver, Transport};

/// Where its program is; `.ci/rotel` sets it.
const PROGRAM: &str = "TRACING_GENAI_ROTEL";

/// Runs until it is dropped.
pub(crate) struct Rotel {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
    log: PathBuf,
}

impl Rotel {
    /// Starts one that sends to this receiver; `None`, and a line that can't be missed, where there is no rotel.
    pub(crate) fn before(receiver: &Receiver, transport: Transport) -> Option<Self> {
        let Some(program) = env::var_os(PROGRAM) else {
            // Not `eprintln!`, which is seen of failed tests only.
            let _ =
                writeln!(io::stderr(), "\nSKIPPED: {PROGRAM} is not set, nothing goes through rotel: run .ci/rotel\n");
            return None;
        };
        let [http, grpc] = [free(), free()];
        let log = env::temp_dir().join(format!("rotel-{}-{}.log", std::process::id(), http.port()));
        let mut rotel = Command::new(program);
        rotel.arg("start").args(["--exporter", "otlp", "--otlp-exporter-endpoint", &receiver.endpoint()]);
        rotel.args(["--otlp-exporter-protocol", if transport == Transport::Grpc { "grpc" } else { "http" }]);
        rotel.args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()]);
        rotel.args(["--batch-timeout", "50ms"]);
        let output = fs::File::create(&log).unwrap();
        rotel.stdout(output.try_clone().unwrap()).stderr(output).stdin(Stdio::null());
        let mut rotel = Self { child: rotel.spawn().unwrap(), http, grpc, log };
        let end = Instant::now() + Duration::from_secs(20);
        while [http, grpc].iter().any(|address| TcpStream::connect(address).is_err()) {
            let ended = rotel.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "rotel did not start: {}", rotel.said());
            sleep(Duration::from_millis(20));
        }
        Some(rotel)
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self, transport: Transport) -> String {
        format!("http://{}", if transport == Transport::Grpc { self.grpc } else { self.http })
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
