//! What a handler leaves of a request's body unread is read and dropped for a while after the
//! answer. A connection closed while the client is still sending breaks, and the client sees that
//! instead of the answer: a folder that is too large, or a wrong token, would look like a crash.
//!
//! It delays no answer and limits nothing that a handler reads.

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Several times the largest body any route takes. Who sends more sees the connection break.
const READ_MAX_BYTES: usize = 64 * 1024 * 1024;
/// A local client sends that in well under a second, and nobody is waited for longer than for a
/// slow one.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// The layer; the outermost that sees the body.
pub async fn linger(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => body,
        false => Body::from_stream(Lingering(Some(body.into_data_stream()))),
    };
    next.run(Request::from_parts(parts, body)).await
}

/// A body whose rest is read when nobody wants it any more; none when it has ended.
struct Lingering(Option<BodyDataStream>);

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.poll_next_unpin(context));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(READ_WITHIN, read_away(rest)));
        }
    }
}

async fn read_away(mut rest: BodyDataStream) {
    let mut read = 0;
    while let Some(Ok(bytes)) = rest.next().await {
        read += bytes.len();
        if read > READ_MAX_BYTES {
            return;
        }
    }
}
