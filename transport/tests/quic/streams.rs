//! What passes over a stream and how it ends.

use bytes::Bytes;
use postern_transport::quic::{ConnectionEnd, StreamFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn chunks_arrive_in_order_and_the_end_is_seen() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"hello").await;
    let mut chunks = [Bytes::from_static(b"one "), Bytes::from_static(b"two "), Bytes::from_static(b"three")];
    stream.client_send.write_chunk(Bytes::from_static(b"zero ")).await.unwrap();
    stream.client_send.write_chunks(&mut chunks).await.unwrap();
    assert!(chunks.iter().all(Bytes::is_empty));
    stream.client_send.finish().unwrap();
    let mut seen = Vec::new();
    let mut taken = [const { Bytes::new() }; 4];
    while let Some(count) = stream.server_recv.read_chunks(&mut taken).await.unwrap() {
        seen.extend(taken[..count].concat());
    }
    assert_eq!(seen, b"zero one two three");
    assert_eq!(stream.client_send.stopped().await, Ok(None));
}

#[tokio::test]
async fn a_chunk_is_never_longer_than_asked_for() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.write_all(b"abcdef").await.unwrap();
    assert_eq!(stream.server_recv.read_chunk(2).await, Ok(Some(Bytes::from_static(b"ab"))));
    assert_eq!(stream.server_recv.read_chunk(100).await, Ok(Some(Bytes::from_static(b"cdef"))));
}

#[tokio::test]
async fn one_direction_stays_open_when_the_other_is_finished() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"request").await;
    stream.client_send.finish().unwrap();
    assert_eq!(stream.server_recv.read_chunk(100).await, Ok(None));
    stream.server_send.write_all(b"answer").await.unwrap();
    stream.server_send.finish().unwrap();
    let mut answer = Vec::new();
    stream.client_recv.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
}

#[tokio::test]
async fn a_reset_reaches_the_reader_with_its_code() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.reset(0xbad);
    assert_eq!(stream.server_recv.read_chunk(100).await, Err(StreamFault::Reset(0xbad)));
    assert_eq!(stream.client_send.write_all(b"more").await, Err(StreamFault::Closed));
    assert_eq!(stream.client_send.finish(), Err(StreamFault::Closed));
}

#[tokio::test]
async fn a_stop_reaches_the_writer_with_its_code() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.server_recv.stop(0xdead);
    assert_eq!(stream.client_send.stopped().await, Ok(Some(0xdead)));
    assert_eq!(stream.client_send.write_all(b"more").await, Err(StreamFault::Stopped(0xdead)));
    assert_eq!(stream.server_recv.read_chunk(1).await, Ok(None));
}

#[tokio::test]
async fn a_short_stream_says_how_much_of_it_came() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.write_all(b"abc").await.unwrap();
    stream.client_send.finish().unwrap();
    let mut buffer = [0; 8];
    assert_eq!(
        stream.server_recv.read_exact(&mut buffer).await,
        Err(StreamFault::Ended { found: 3, expected: 8 })
    );
}

#[tokio::test]
async fn streams_end_with_the_connections_reason() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    pair.client.close(5, b"");
    let end = ConnectionEnd::ClosedByPeer { code: 5, reason: Bytes::new() };
    assert_eq!(stream.server_recv.read_chunk(1).await, Err(StreamFault::ConnectionLost(end.clone())));
    assert_eq!(stream.server_send.write_all(b"y").await, Err(StreamFault::ConnectionLost(end.clone())));
    assert_eq!(stream.server_send.stopped().await, Err(end));
    let error = stream.client_send.write_u8(1).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert_eq!(
        error.get_ref().unwrap().downcast_ref::<StreamFault>(),
        Some(&StreamFault::ConnectionLost(ConnectionEnd::ClosedHere))
    );
}

#[tokio::test]
async fn the_async_traits_read_and_write_the_same_bytes() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    AsyncWriteExt::write_all(&mut stream.client_send, b"through the traits").await.unwrap();
    stream.client_send.shutdown().await.unwrap();
    let mut seen = String::new();
    stream.server_recv.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen, "through the traits");
}

#[tokio::test]
async fn a_bulk_stream_that_nobody_reads_does_not_starve_another() {
    let settings = Settings::session();
    let pair = Pair::open(&settings).await;
    let mut bulk = pair.stream(b"bulk").await;
    let window = usize::try_from(settings.stream_window).unwrap();
    let chunk = Bytes::from(vec![0; 16 * 1024]);
    let flood = async {
        loop {
            bulk.client_send.write_chunk(chunk.clone()).await.unwrap();
        }
    };
    let echo = async {
        let mut small = pair.stream(b"ping").await;
        for _ in 0..50 {
            small.client_send.write_all(b"ping").await.unwrap();
            let mut seen = [0; 4];
            small.server_recv.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"ping");
        }
    };
    tokio::select! {
        () = flood => {}
        () = echo => {}
    }
    // What the peer holds unread of the bulk stream stays within its window.
    let mut held = 0;
    let mut ended = false;
    bulk.client_send.reset(0);
    while !ended {
        match bulk.server_recv.read_chunk(usize::MAX).await {
            Ok(Some(chunk)) => held += chunk.len(),
            Ok(None) | Err(_) => ended = true,
        }
    }
    assert!(held <= window, "{held} bytes were held, the window is {window}");
}

#[tokio::test]
async fn the_peers_stream_limit_holds_back_one_stream_more() {
    let settings = Settings { streams: 2, ..Settings::session() };
    let pair = Pair::open(&settings).await;
    let one = pair.stream(b"1").await;
    let _two = pair.stream(b"2").await;
    let third = pair.client.open_bi();
    tokio::pin!(third);
    tokio::select! {
        biased;
        _ = &mut third => panic!("a third stream was opened"),
        () = tokio::task::yield_now() => {}
    }
    drop(one); // both halves on both ends: the limit moves on
    tokio::time::timeout(GENEROUS, third).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stranger_s_bytes_wait_on_its_own_side_until_its_connection_is_widened() {
    let pair = Pair::open(&Settings::stranger()).await;
    let mut stream = pair.stream(b"x").await;
    // More than a stranger's window, less than a stream's: nobody reads it.
    let bytes = vec![0; 100 * 1024];
    let mut writing = std::pin::pin!(stream.client_send.write_all(&bytes));
    tokio::time::timeout(Duration::from_millis(300), &mut writing).await.unwrap_err();
    pair.server.widen(&Settings::session());
    tokio::time::timeout(GENEROUS, writing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_datagram_arrives_whole_where_it_fits_and_both_sides_take_them() {
    let pair = Pair::open(&Settings::session()).await;
    assert!(pair.client.send_datagram(Bytes::from_static(b"ping")));
    assert_eq!(pair.server.read_datagram().await, Ok(Bytes::from_static(b"ping")));
    assert!(pair.server.send_datagram(Bytes::from_static(b"pong")));
    assert_eq!(pair.client.read_datagram().await, Ok(Bytes::from_static(b"pong")));
    assert!(!pair.client.send_datagram(Bytes::from(vec![0; 4000])), "larger than the path");
    let without = Pair::open(&Settings::control()).await;
    assert!(!without.client.send_datagram(Bytes::from_static(b"ping")), "nobody takes any");
}

#[tokio::test]
async fn streams_are_counted_by_who_opened_them() {
    let pair = Pair::open(&Settings::session()).await;
    let (one, two) = (pair.stream(b"1").await, pair.stream(b"2").await);
    assert_eq!((one.client_send.index(), one.server_send.index()), (0, 0));
    assert_eq!((two.client_send.index(), two.server_send.index()), (1, 1));
}
