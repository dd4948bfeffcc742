//! A server that lets everybody in and then echoes, and a client that can log in: for tests in which SQL does not matter.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Messages that end a login: authentication OK, key data with this backend number, ready for query.
fn welcome(backend: i32) -> Vec<u8> {
    let mut bytes = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c".to_vec();
    bytes.extend_from_slice(&backend.to_be_bytes());
    bytes.extend_from_slice(&7_i32.to_be_bytes());
    bytes.extend_from_slice(b"Z\0\0\0\x05I");
    bytes
}

/// Listens until its folder is gone; its backends all have the same number.
pub fn fake_server(folder: &Path, backend: i32) -> PathBuf {
    let path = folder.join(format!("fake-{backend}.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let serve = move || -> io::Result<()> {
                let mut length = [0; 4];
                stream.read_exact(&mut length)?;
                let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
                stream.read_exact(&mut rest)?;
                stream.write_all(&welcome(backend))?;
                let mut buffer = [0; 1024];
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(()),
                        count => stream.write_all(&buffer[..count])?,
                    }
                }
            };
            std::thread::Builder::new().stack_size(64 * 1024).spawn(serve).unwrap();
        }
    });
    path
}

/// A startup message of this user.
pub fn startup(user: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0database\0shop\0\0");
    let mut message = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    message.extend_from_slice(&(3_u32 << 16).to_be_bytes());
    message.extend_from_slice(body.as_bytes());
    message
}

/// Logs in over a connection and returns the number of the backend.
pub fn log_in_over(stream: &mut (impl Read + Write)) -> io::Result<i32> {
    stream.write_all(&startup("alice"))?;
    stream.flush()?;
    let mut answer = vec![0; welcome(0).len()];
    stream.read_exact(&mut answer)?;
    Ok(i32::from_be_bytes(answer[14..18].try_into().unwrap()))
}

/// Connects and logs in.
pub fn log_in(address: SocketAddr) -> io::Result<(TcpStream, i32)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let backend = log_in_over(&mut stream)?;
    Ok((stream, backend))
}

/// Whether bytes still come back.
pub fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"ping"
}
