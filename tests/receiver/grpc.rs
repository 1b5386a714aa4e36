//! OTLP over gRPC.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::codec::CompressionEncoding;
use tonic::metadata::KeyAndValueRef;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Manner, State};

/// Takes connections as long as it does not speak the protocol at all.
pub(super) fn misbehave(listener: &TcpListener, state: &State) {
    while matches!(state.manner(), Manner::Garbage | Manner::Close) {
        let Ok((mut connection, _)) = listener.accept() else { continue };
        if state.manner() == Manner::Garbage {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        } else {
            // In the middle of what it has to say.
            let _ = connection.read_exact(&mut [0; 40]);
        }
    }
}

pub(super) fn serve(listener: TcpListener, state: Arc<State>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
        let spans = TraceServiceServer::new(Service(Arc::clone(&state))).accept_compressed(CompressionEncoding::Gzip);
        let metrics = MetricsServiceServer::new(Service(state)).accept_compressed(CompressionEncoding::Gzip);
        Server::builder().add_service(spans).add_service(metrics).serve_with_incoming(incoming).await.unwrap();
    });
}

struct Service(Arc<State>);

impl Service {
    /// Behaves; what it takes comes back with its headers.
    async fn taken<R>(&self, request: Request<R>) -> Result<(BTreeMap<String, String>, R), Status> {
        match self.0.manner() {
            Manner::Well | Manner::Absent | Manner::SpansOnly => {}
            Manner::Hang => {
                let state = Arc::clone(&self.0);
                tokio::task::spawn_blocking(move || state.hang()).await.unwrap();
                return Err(Status::cancelled("it hung"));
            }
            Manner::Throttle(_) => return Err(Status::resource_exhausted("later")),
            Manner::Status(_) | Manner::Garbage | Manner::Close => return Err(Status::unavailable("not now")),
        }
        let ascii = |entry| match entry {
            KeyAndValueRef::Ascii(name, value) => Some((name.to_string(), value.to_str().ok()?.to_owned())),
            KeyAndValueRef::Binary(..) => None,
        };
        Ok((request.metadata().iter().filter_map(ascii).collect(), request.into_inner()))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (headers, body) = self.taken(request).await?;
        self.0.take_spans(headers, body);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if self.0.manner() == Manner::SpansOnly {
            return Err(Status::unimplemented("spans only"));
        }
        let (headers, body) = self.taken(request).await?;
        self.0.take_metrics(headers, body);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
