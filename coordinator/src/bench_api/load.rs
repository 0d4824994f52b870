//! A client that asks for one address again and again on a few connections, as fast as it is answered, and
//! does as little as possible besides.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub token: String,
}

/// A connection that is kept open.
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: BytesMut,
}

/// Answers per second, where so many are asked for in all.
pub async fn rate(target: &Target, connections: usize, requests: usize) -> anyhow::Result<f64> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::connect(target).await?);
    }
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for mut client in clients {
        asking.spawn(async move {
            for _ in 0..requests / connections {
                client.ask().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = asking.join_next().await {
        done??;
    }
    Ok((requests / connections * connections) as f64 / begun.elapsed().as_secs_f64())
}

impl Client {
    pub async fn connect(target: &Target) -> anyhow::Result<Self> {
        let Target {
            address,
            path,
            token,
        } = target;
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Ok(Self {
            stream,
            request: request.into_bytes(),
            buffer: BytesMut::new(),
        })
    }

    /// Asks once, and answers with the status and the length of the body.
    pub async fn ask(&mut self) -> anyhow::Result<(u16, usize)> {
        self.stream.write_all(&self.request).await?;
        let head = loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break end + 4;
            }
            self.read().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status: u16 = status.context("an answer without a status")?;
        let length = text.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        let length = length.unwrap_or(0);
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        self.buffer.advance(head + length);
        Ok((status, length))
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection ended in the middle of an answer");
        }
        Ok(())
    }
}
