//! A way to the server that takes a while: bytes arrive later than they were sent, as many at a time
//! as were sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces under way in one direction. With pieces of up to [`PIECE`] that is more than the delay
/// times any speed that a server sends at.
const UNDER_WAY: usize = 4096;

const PIECE: usize = 256 << 10;

/// What has more to come is left to collect for so long, since a network takes nothing of the machine
/// that is measured, and threads that carry every packet take a good part of it. A request or an answer
/// that is alone goes at once.
const COLLECT: Duration = Duration::from_micros(250);
const MUCH: usize = 4096;

/// A piece of what was sent, and when it arrives.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

/// Listens on a port of its own for as long as the process lives, and returns the port.
pub(crate) fn start(server: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A client whose server is gone sees its connection end.
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                continue;
            };
            let delay = round_trip / 2;
            carry(&client, &server, delay);
            carry(&server, &client, delay);
        }
    });
    port
}

/// Carries everything from one to the other.
fn carry(from: &TcpStream, to: &TcpStream, delay: Duration) {
    to.set_nodelay(true).expect("a socket has options");
    let from = from.try_clone().expect("a socket can be shared");
    let to = to.try_clone().expect("a socket can be shared");
    let (sender, receiver) = mpsc::sync_channel(UNDER_WAY);
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || deliver(to, &receiver));
}

fn take(mut from: TcpStream, sender: &SyncSender<Piece>, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let piece = Piece {
            due: Instant::now() + delay,
            bytes: buffer[..count].to_vec(),
        };
        if count == 0 || sender.send(piece).is_err() {
            return;
        }
        if count >= MUCH {
            thread::sleep(COLLECT);
        }
    }
}

fn deliver(mut to: TcpStream, receiver: &Receiver<Piece>) {
    for piece in receiver {
        let left = piece.due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
        if to.write_all(&piece.bytes).is_err() {
            return;
        }
    }
    // The other side hears the end as well.
    let _ = to.shutdown(Shutdown::Write);
}
