//! OTLP over HTTP: as much of it as one client says.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use flate2::read::GzDecoder;
use prost::Message;
use serde::de::DeserializeOwned;

use super::{Manner, State};

pub(super) fn serve(listener: &TcpListener, state: &Arc<State>) {
    for connection in listener.incoming() {
        let state = Arc::clone(state);
        // A connection that breaks is the client's business.
        thread::spawn(move || connection.and_then(|connection| converse(&connection, &state)));
    }
}

fn converse(mut connection: &TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(headers) = head(&mut reader)? {
        let manner = state.manner();
        if manner == Manner::Close {
            return Ok(());
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body)?;
        let (status, more, answer) = match manner {
            // What a page would answer to whom a redirect has led there.
            _ if headers[":method"] == "GET" => ("200 OK".into(), String::new(), &[][..]),
            Manner::SpansOnly if headers[":path"] == "/v1/metrics" => ("404 Not Found".into(), String::new(), &[][..]),
            Manner::Well | Manner::Absent | Manner::SpansOnly => {
                let is_json = headers["content-type"] == "application/json";
                match take(state, headers, &body) {
                    Some(()) => ("200 OK".into(), String::new(), if is_json { &b"{}"[..] } else { &[] }),
                    None => ("400 Bad Request".into(), String::new(), &[][..]),
                }
            }
            Manner::Hang => {
                state.hang();
                return Ok(());
            }
            Manner::Status(status) => (format!("{status} Whatever"), "location: /elsewhere\r\n".into(), &[][..]),
            Manner::Throttle(seconds) => {
                ("429 Too Many Requests".into(), format!("retry-after: {seconds}\r\n"), &[][..])
            }
            Manner::Garbage => {
                connection.write_all(b"\x00\xffSSH-2.0-no\r\n\r\n\x07")?;
                return Ok(());
            }
            Manner::Close => unreachable!("it has closed"),
        };
        write!(connection, "HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n", answer.len())?;
        connection.write_all(answer)?;
    }
    Ok(())
}

/// The headers of the next request; `None` when there is none any more.
fn head(reader: &mut impl BufRead) -> io::Result<Option<BTreeMap<String, String>>> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    headers.insert(":method".into(), words.next().unwrap_or_default());
    headers.insert(":path".into(), words.next().unwrap_or_default());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(Some(headers)) };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

/// Takes what is a request in the place for it.
fn take(state: &State, headers: BTreeMap<String, String>, body: &[u8]) -> Option<()> {
    if headers[":path"] == "/v1/metrics" {
        let request = decoded(&headers, body)?;
        state.take_metrics(headers, request);
    } else {
        let request = decoded(&headers, body)?;
        state.take_spans(headers, request);
    }
    Some(())
}

fn decoded<R: Message + Default + DeserializeOwned>(headers: &BTreeMap<String, String>, body: &[u8]) -> Option<R> {
    let mut plain = Vec::new();
    match headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => {
            GzDecoder::new(body).read_to_end(&mut plain).ok()?;
        }
        // That it is zstd is all that is looked at.
        Some("zstd") => return body.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]).then(Default::default),
        _ => plain = body.to_owned(),
    }
    match headers["content-type"].as_str() {
        "application/x-protobuf" => R::decode(plain.as_slice()).ok(),
        "application/json" => serde_json::from_slice(&plain).ok(),
        _ => None,
    }
}
