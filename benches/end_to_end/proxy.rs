//! A proxy that delays: bytes arrive at the server, or come from it, some time after they were
//! sent, without a limit of bandwidth.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Most pieces in flight in one direction. With pieces of up to [`PIECE`] bytes that is more than
/// the delay times the speed of any server.
const PIECES_IN_FLIGHT: usize = 4096;

/// Largest piece, in bytes.
const PIECE: usize = 256 << 10;

/// Pause after a large piece, so that more bytes collect: a real network takes nothing of the
/// machine that is measured, while threads that carry every packet would take a good part of it. A
/// single request or answer is passed on at once.
const COLLECT_TIME: Duration = Duration::from_micros(250);
/// Size in bytes from which a piece counts as large.
const LARGE_PIECE: usize = 4096;

/// A piece of the bytes that were sent, with the time of its arrival.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

/// Listens on a free port for as long as the process lives, and returns the port.
pub(crate) fn start(server: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // If the server is gone, the client sees its connection end.
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

/// Passes on everything from one socket to the other, with a delay.
fn carry(from: &TcpStream, to: &TcpStream, delay: Duration) {
    to.set_nodelay(true).expect("a socket has options");
    let from = from.try_clone().expect("a socket can be shared");
    let to = to.try_clone().expect("a socket can be shared");
    let (sender, receiver) = mpsc::sync_channel(PIECES_IN_FLIGHT);
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
        if count >= LARGE_PIECE {
            thread::sleep(COLLECT_TIME);
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
    // The end of the connection is passed on as well.
    let _ = to.shutdown(Shutdown::Write);
}
