//! Framed messages over real streams.

use postern_protocol::wire::codec::CodecFault;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::StreamFault;

use super::*;

const MAX: usize = 1000;

#[tokio::test]
async fn frames_arrive_one_by_one_and_leave_the_bytes_behind_them() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    write_frame(&mut stream.client_send, &"first".to_owned(), MAX).await.unwrap();
    write_frame(&mut stream.client_send, &300_u32, MAX).await.unwrap();
    stream.client_send.write_all(b"raw").await.unwrap();
    stream.client_send.finish().unwrap();
    let recv = &mut stream.server_recv;
    assert_eq!(read_frame::<String>(recv, MAX, GENEROUS).await, Ok("first".to_owned()));
    assert_eq!(read_frame::<u32>(recv, MAX, GENEROUS).await, Ok(300));
    let mut raw = [0; 3];
    recv.read_exact(&mut raw).await.unwrap();
    assert_eq!(&raw, b"raw");
    assert_eq!(read_frame::<u32>(recv, MAX, GENEROUS).await, Err(FrameFault::Ended));
}

#[tokio::test]
async fn a_frame_is_four_bytes_of_length_and_the_encoding() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    write_frame(&mut stream.client_send, &300_u32, MAX).await.unwrap();
    let mut bytes = [0; 6];
    stream.server_recv.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, [2, 0, 0, 0, 0xac, 0x02]);
}

#[tokio::test]
async fn a_frame_at_the_limit_passes_and_one_byte_more_is_refused_on_both_ends() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    let at_limit = vec![7_u8; MAX - 2]; // and two bytes for the list's length
    write_frame(&mut stream.client_send, &at_limit, MAX).await.unwrap();
    assert_eq!(read_frame::<Vec<u8>>(&mut stream.server_recv, MAX, GENEROUS).await, Ok(at_limit));
    let above = vec![7_u8; MAX - 1];
    let fault = CodecFault::TooLarge { found: MAX + 1, limit: MAX };
    assert_eq!(write_frame(&mut stream.client_send, &above, MAX).await, Err(FrameFault::Codec(fault)));
    write_frame(&mut stream.client_send, &above, MAX + 1).await.unwrap();
    assert_eq!(
        read_frame::<Vec<u8>>(&mut stream.server_recv, MAX, GENEROUS).await,
        Err(FrameFault::TooLarge { found: MAX + 1, limit: MAX })
    );
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_before_any_body_comes() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    assert_eq!(
        read_frame::<Vec<u8>>(&mut stream.server_recv, MAX, GENEROUS).await,
        Err(FrameFault::TooLarge { found: u32::MAX as usize, limit: MAX })
    );
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_truncated() {
    let pair = Pair::open(&Settings::session()).await;
    for (sent, found, expected) in [(&[9_u8, 0][..], 2, 4), (&[9, 0, 0, 0, 1, 2, 3], 3, 9)] {
        let mut stream = pair.stream(b"x").await;
        stream.client_send.write_all(sent).await.unwrap();
        stream.client_send.finish().unwrap();
        assert_eq!(
            read_frame::<Vec<u8>>(&mut stream.server_recv, MAX, GENEROUS).await,
            Err(FrameFault::Truncated { found, expected })
        );
    }
}

#[tokio::test]
async fn a_peer_that_trickles_is_cut_off_at_the_deadline() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.write_all(&[9, 0, 0, 0, 1, 2, 3]).await.unwrap();
    let within = Duration::from_millis(50);
    assert_eq!(
        read_frame::<Vec<u8>>(&mut stream.server_recv, MAX, within).await,
        Err(FrameFault::TimedOut { within })
    );
}

#[tokio::test]
async fn content_that_is_not_the_message_is_a_codec_fault() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.write_all(&[3, 0, 0, 0, 0xac, 0x02, 0x00]).await.unwrap();
    assert_eq!(
        read_frame::<u32>(&mut stream.server_recv, MAX, GENEROUS).await,
        Err(FrameFault::Codec(CodecFault::Trailing { count: 1 }))
    );
}

#[tokio::test]
async fn a_reset_inside_a_frame_is_the_streams_fault() {
    let pair = Pair::open(&Settings::session()).await;
    let mut stream = pair.stream(b"x").await;
    stream.client_send.reset(4);
    assert_eq!(
        read_frame::<u32>(&mut stream.server_recv, MAX, GENEROUS).await,
        Err(FrameFault::Stream(StreamFault::Reset(4)))
    );
}
