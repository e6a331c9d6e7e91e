//! One room on fastwebsockets, hyper and a single-threaded tokio. Usage: peer PORT BODY_BYTES
//!
//! The upgrade is the library's own (through hyper, as in its examples). A task for each connection
//! reads; the broadcast writes one frame to every writing half in turn.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;

use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, WebSocketWrite, upgrade};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

type Writer = WebSocketWrite<WriteHalf<TokioIo<Upgraded>>>;
/// By connection number. A writer is taken out while it is being written to; one whose connection
/// ends in that moment is put back once more, and its next write fails.
type Room = Rc<RefCell<Vec<Option<Writer>>>>;

async fn read_until_closed(
    id: usize,
    room: Room,
    socket: upgrade::UpgradeFut,
) -> Result<(), WebSocketError> {
    let (mut reader, writer) = socket.await?.split(tokio::io::split);
    room.borrow_mut()[id] = Some(writer);
    // Pings and closes are not answered: the measuring client sends neither.
    let mut unanswered = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
    loop {
        let read = reader.read_frame(&mut unanswered).await;
        if read.map_or(true, |frame| frame.opcode == OpCode::Close) {
            room.borrow_mut()[id] = None;
            return Ok(());
        }
    }
}

async fn serve(id: usize, room: Room, stream: TcpStream) {
    let answer = |mut request: Request<Incoming>| {
        let room = room.clone();
        async move {
            let Ok((response, socket)) = upgrade::upgrade(&mut request) else {
                let mut refusal = Response::new(Empty::<Bytes>::new());
                *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
                return Ok::<_, Infallible>(refusal);
            };
            spawn_local(read_until_closed(id, room, socket));
            Ok(response)
        }
    };
    let http = hyper::server::conn::http1::Builder::new();
    let service = hyper::service::service_fn(answer);
    // A connection that breaks off ends here or in its reader; there is nobody to tell.
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn broadcast(room: &Room, body: &[u8]) {
    let places = room.borrow().len();
    for id in 0..places {
        let Some(mut writer) = room.borrow_mut()[id].take() else { continue };
        let frame = Frame::binary(Payload::Borrowed(body));
        if writer.write_frame(frame).await.is_ok() {
            room.borrow_mut()[id] = Some(writer);
        }
    }
}

async fn obey(room: Room, body: Vec<u8>) -> std::io::Result<()> {
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = commands.next_line().await? {
        let Some(count) = line.strip_prefix("b ").and_then(|count| count.parse::<u64>().ok())
        else {
            continue;
        };
        for _ in 0..count {
            broadcast(&room, &body).await;
        }
        println!("done");
    }
    Ok(())
}

async fn run(port: u16, body_bytes: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("ready {}", listener.local_addr()?.port());
    let room = Room::default();
    let accepting = room.clone();
    spawn_local(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let id = accepting.borrow().len();
            accepting.borrow_mut().push(None);
            // Without TCP_NODELAY a connection would only be slower: it is still served.
            let _ = stream.set_nodelay(true);
            spawn_local(serve(id, accepting.clone(), stream));
        }
    });
    obey(room, vec![b't'; body_bytes]).await
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u16>());
    let (Some(Ok(port)), Some(Ok(body_bytes))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: peer PORT BODY_BYTES");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serving: std::pin::Pin<Box<dyn Future<Output = _>>> =
        Box::pin(run(port, usize::from(body_bytes)));
    let done = LocalSet::new().block_on(&runtime, serving);
    // The thread that reads standard input would keep the process alive.
    std::process::exit(i32::from(done.map_err(|error| eprintln!("{error}")).is_err()));
}
