//! The server's process: the Flight door before a log, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorOptions, do_put, limits};
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use queue::{LogOptions, LogQueue};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::{Result, machine};

/// A server as a child process.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program with a verb, and waits for its address.
    pub(crate) fn start(verb: &str, folder: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(verb)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().ok_or("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .map_err(|error| format!("server did not start: {error}"))?;
        Ok(Self { process, address })
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        machine::cpu_of(&self.process.id().to_string())
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says where a child listens.
pub(crate) fn announce(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{address}")?;
    Ok(out.flush()?)
}

pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let (queue, _) = LogQueue::open(folder, LogOptions::default())?;
    let options = AggregatorOptions {
        // As many as the log has writers, so that the processors can write side by side.
        partitions: Arc::new(|_| 2),
        ..AggregatorOptions::default()
    };
    let aggregator = Aggregator::new(Arc::new(queue), options);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?)?;
    let window = limits::FLIGHT_MESSAGE_BYTES_MAX as u32;
    let service = FlightServiceServer::new(PutOnly(aggregator))
        .max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    tonic::transport::Server::builder()
        .initial_stream_window_size(window / 4)
        .initial_connection_window_size(window)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

struct PutOnly(Aggregator);

type Answers<T> = BoxStream<'static, std::result::Result<T, Status>>;

fn not_here<T>() -> std::result::Result<T, Status> {
    Err(Status::unimplemented("only DoPut is here"))
}

#[tonic::async_trait]
impl FlightService for PutOnly {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoPutStream>, Status> {
        Ok(Response::new(do_put(self.0.clone(), request.into_inner())))
    }
    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> std::result::Result<Response<Self::HandshakeStream>, Status> {
        not_here()
    }
    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> std::result::Result<Response<Self::ListFlightsStream>, Status> {
        not_here()
    }
    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> std::result::Result<Response<FlightInfo>, Status> {
        not_here()
    }
    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> std::result::Result<Response<PollInfo>, Status> {
        not_here()
    }
    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> std::result::Result<Response<SchemaResult>, Status> {
        not_here()
    }
    async fn do_get(&self, _: Request<Ticket>) -> std::result::Result<Response<Self::DoGetStream>, Status> {
        not_here()
    }
    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> std::result::Result<Response<Self::DoActionStream>, Status> {
        not_here()
    }
    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> std::result::Result<Response<Self::ListActionsStream>, Status> {
        not_here()
    }
    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<Self::DoExchangeStream>, Status> {
        not_here()
    }
}
