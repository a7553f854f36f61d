//! Messages of the Flight door that are still coming: each has room in memory for all that it says it will be.
//!
//! gRPC's framing (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): a byte of flags, the length as
//! a big endian u32, the message.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;

use super::gate::peer_of;
use crate::memory::{Holder, Memory, Room};

const PREFIX_BYTES: usize = 5;

/// A call whose messages draw on the memory of all doors, as its peer's share.
pub(crate) fn metered(
    request: Request<Body>,
    memory: &Memory,
    (message_bytes_max, patience): (usize, Duration),
) -> Request<Body> {
    let peer = request.extensions().get::<TcpConnectInfo>();
    let peer = peer.and_then(TcpConnectInfo::remote_addr);
    let (memory, peer) = (memory.clone(), peer.map(|address| peer_of(address.ip())));
    request.map(|body| {
        Body::new(Metered {
            body,
            memory,
            peer,
            message_bytes_max,
            patience,
            place: Place::default(),
            room: None,
            waiting: None,
        })
    })
}

struct Metered {
    body: Body,
    memory: Memory,
    peer: Option<IpAddr>,
    /// What is decoded; a larger message is refused by who decodes it.
    message_bytes_max: usize,
    patience: Duration,
    place: Place,
    /// Of the message that has begun and not ended.
    room: Option<Room>,
    /// A frame that begins a message for which there is no room yet.
    waiting: Option<(BoxFuture<'static, Option<Room>>, Frame<Bytes>)>,
}

/// Where in the framing the bytes are that were seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// What the message under way says it is.
    message_bytes: usize,
    /// What of it has not come.
    left: usize,
}

impl Place {
    /// Goes on by some bytes; says whether a message ended in them.
    fn go_on(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_ended = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let some = self.left.min(bytes.len());
                (self.left, bytes) = (self.left - some, &bytes[some..]);
                has_ended |= self.left == 0;
                continue;
            }
            let some = (PREFIX_BYTES - self.prefix_bytes).min(bytes.len());
            self.prefix[self.prefix_bytes..][..some].copy_from_slice(&bytes[..some]);
            (self.prefix_bytes, bytes) = (self.prefix_bytes + some, &bytes[some..]);
            if self.prefix_bytes == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.message_bytes = u32::from_be_bytes(length) as usize;
                (self.left, self.prefix_bytes) = (self.message_bytes, 0);
            }
        }
        has_ended
    }

    /// What must be held until more comes.
    fn held(&self, message_bytes_max: usize) -> usize {
        match self.left > 0 && self.message_bytes <= message_bytes_max {
            true => self.message_bytes,
            false => 0,
        }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some((room, _)) = &mut self.waiting {
            self.room = ready!(room.poll_unpin(cx));
            let frame = self.waiting.take().map(|(_, frame)| frame);
            if self.room.is_none() {
                return Poll::Ready(Some(Err(Status::resource_exhausted(
                    "too much is under way from this peer, send it again later",
                ))));
            }
            return Poll::Ready(frame.map(Ok));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let Some(data) = frame.data_ref() else {
            return Poll::Ready(Some(Ok(frame)));
        };
        if self.place.go_on(data) {
            self.room = None;
        }
        let held = self.place.held(self.message_bytes_max);
        if held == 0 || self.room.is_some() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let holder = Holder::Peer(self.peer);
        self.room = self.memory.try_take(holder.clone(), held);
        if self.room.is_some() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let (memory, patience) = (self.memory.clone(), self.patience);
        let room = async move { memory.take(holder, held, patience).await };
        self.waiting = Some((room.boxed(), frame));
        self.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::StreamExt;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::FLIGHT_MESSAGE_BYTES_MAX;

    /// A body of frames.
    struct Frames(VecDeque<Bytes>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    fn framed(messages: &[usize]) -> Vec<u8> {
        let frame = |bytes: &usize| {
            let mut frame = vec![0];
            frame.extend(u32::try_from(*bytes).unwrap().to_be_bytes());
            frame.resize(PREFIX_BYTES + bytes, 7);
            frame
        };
        messages.iter().flat_map(frame).collect()
    }

    fn frames(bytes: &[u8], cuts: &[usize]) -> VecDeque<Bytes> {
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut frames = VecDeque::new();
        for cut in cuts {
            frames.push_back(rest.split_to((*cut).min(rest.len())));
        }
        frames.push_back(rest);
        frames
    }

    fn metered_frames(frames: VecDeque<Bytes>, memory: &Memory) -> Pin<Box<Body>> {
        let request = Request::new(Body::new(Frames(frames)));
        Box::pin(
            metered(
                request,
                memory,
                (FLIGHT_MESSAGE_BYTES_MAX, Duration::from_secs(1)),
            )
            .into_body(),
        )
    }

    async fn next(body: &mut Pin<Box<Body>>) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await
    }

    /// What must be held after so many bytes: the message in whose middle they end.
    fn naive(messages: &[usize], mut bytes: usize) -> usize {
        for message in messages {
            if bytes < PREFIX_BYTES + message {
                return if bytes >= PREFIX_BYTES { *message } else { 0 };
            }
            bytes -= PREFIX_BYTES + message;
        }
        0
    }

    proptest! {
        #[test]
        fn what_is_held_is_the_message_under_way_and_the_bytes_pass(
            messages in proptest::collection::vec(0..300_usize, 0..8),
            cuts in proptest::collection::vec(0..200_usize, 0..20),
        ) {
            let (memory, bytes) = (Memory::new(1 << 20), framed(&messages));
            let frames = frames(&bytes, &cuts);
            futures::executor::block_on(async {
                let mut body = metered_frames(frames, &memory);
                let mut passed = Vec::new();
                while let Some(frame) = next(&mut body).await {
                    passed.extend(frame.unwrap().into_data().unwrap());
                    prop_assert_eq!(memory.bytes(), naive(&messages, passed.len()));
                }
                prop_assert_eq!(passed, bytes);
                drop(body);
                prop_assert_eq!(memory.bytes(), 0);
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_messages_wait_for_room_and_then_end() {
        let memory = Memory::new(1_000);
        let half = || metered_frames(frames(&framed(&[400])[..100], &[]), &memory);
        let mut first = half();
        next(&mut first).await.unwrap().unwrap();
        assert_eq!(memory.bytes(), 400);
        let mut second = half();
        let refused = next(&mut second).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let mut third = half();
        let waiting = tokio::spawn(async move { next(&mut third).await.unwrap().is_ok() });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
        let all: Vec<_> = futures::stream::poll_fn(|cx| second.as_mut().poll_frame(cx))
            .collect()
            .await;
        assert!(all.is_empty());
    }
}
