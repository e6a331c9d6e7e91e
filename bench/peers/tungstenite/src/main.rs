//! One room on tokio-tungstenite and a single-threaded tokio. Usage: peer PORT BODY_BYTES
//!
//! A task for each connection reads; the broadcast sends to every writing half in turn. Buffers are
//! 4 KiB, because the default of 128 KiB for reading would be measured and nothing else.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

const BUFFER_BYTES: usize = 4096;

type Writer = SplitSink<WebSocketStream<TcpStream>, Message>;
/// By connection number. A writer is taken out while it is being written to; one whose connection
/// ends in that moment is put back once more, and its next write fails.
type Room = Rc<RefCell<Vec<Option<Writer>>>>;

async fn serve(id: usize, room: Room, stream: TcpStream) {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(1 << 20);
    let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
    let (writer, mut reader) = socket.split();
    room.borrow_mut()[id] = Some(writer);
    while let Some(Ok(_)) = reader.next().await {}
    room.borrow_mut()[id] = None;
}

async fn broadcast(room: &Room, body: &Bytes) {
    let places = room.borrow().len();
    for id in 0..places {
        let Some(mut writer) = room.borrow_mut()[id].take() else { continue };
        if writer.send(Message::Binary(body.clone())).await.is_ok() {
            room.borrow_mut()[id] = Some(writer);
        }
    }
}

async fn obey(room: Room, body: Bytes) -> std::io::Result<()> {
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
    obey(room, Bytes::from(vec![b't'; body_bytes])).await
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u16>());
    let (Some(Ok(port)), Some(Ok(body_bytes))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: peer PORT BODY_BYTES");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = LocalSet::new().block_on(&runtime, run(port, usize::from(body_bytes)));
    // The thread that reads standard input would keep the process alive.
    std::process::exit(i32::from(done.map_err(|error| eprintln!("{error}")).is_err()));
}
