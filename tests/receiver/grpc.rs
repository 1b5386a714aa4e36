//! OTLP over gRPC.

use std::net::TcpListener;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::codec::CompressionEncoding;
use tonic::metadata::KeyAndValueRef;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Manner, State};

pub(super) fn serve(listener: TcpListener, state: Arc<State>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
        let service = TraceServiceServer::new(Service(state)).accept_compressed(CompressionEncoding::Gzip);
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
}

struct Service(Arc<State>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        match self.0.manner() {
            Manner::Well | Manner::Absent => {}
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
        let headers = request.metadata().iter().filter_map(ascii).collect();
        self.0.take(headers, request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
