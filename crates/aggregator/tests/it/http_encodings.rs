//! Packed bodies at the text door.

use std::io::Write;

use event::limits::BATCH_BYTES_MAX;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::door;
use crate::http::post_to;

const PATH: &str = "/v1/datasets/a/events";
pub(crate) const ENCODINGS: [&str; 4] = ["gzip", "zstd", "lz4", "deflate"];

pub(crate) fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        "lz4" => lz4(FrameInfo::new(), bytes),
        other => panic!("{other}"),
    }
}

fn lz4(info: FrameInfo, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Lines that do not pack to nothing, so that there are several blocks.
fn lines(bytes: usize) -> Vec<u8> {
    let mut lines = String::new();
    let mut n = 1u64;
    while lines.len() < bytes {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        lines.push_str(&format!("{{\"n\":{n}}}\n"));
    }
    lines.into_bytes()
}

#[tokio::test]
async fn what_is_packed_is_kept_as_it_was_before() {
    let doors = door::open().await;
    for encoding in ENCODINGS {
        for bytes in [1, 100, 70_000, 3 << 20] {
            let body = lines(bytes);
            let headers = [("content-encoding", encoding)];
            let answer = post_to(&doors, PATH, &headers, &packed(encoding, &body)).await;
            assert_eq!(answer.status, 200, "{encoding} {}", answer.body);
            let kept = doors.batches("a").await;
            assert!(kept.last().unwrap().payload == body, "{encoding} {bytes}");
        }
    }
}

#[tokio::test]
async fn frames_of_lz4_in_all_their_forms() {
    let doors = door::open().await;
    let body = lines(200_000);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max4MB] {
            for checks in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(checks)
                    .content_checksum(checks)
                    .content_size(checks.then_some(body.len() as u64));
                let sent = lz4(info, &body);
                let headers = [("content-encoding", "lz4")];
                assert_eq!(post_to(&doors, PATH, &headers, &sent).await.status, 200);
                assert!(doors.batches("a").await.last().unwrap().payload == body);
            }
        }
    }
}

#[tokio::test]
async fn what_is_cut_short_or_garbage_is_400_and_nothing_is_kept() {
    let doors = door::open().await;
    let body = lines(300);
    for encoding in ENCODINGS {
        let whole = packed(encoding, &body);
        let headers = [("content-encoding", encoding)];
        for cut in 0..whole.len() {
            let answer = post_to(&doors, PATH, &headers, &whole[..cut]).await;
            assert_eq!(answer.status, 400, "{encoding} {cut} of {}", whole.len());
            let error = answer.body["error"].as_str().unwrap();
            assert!(error.contains(encoding) || error.contains("no event"), "{error}");
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(b"{\"n\":1}\n");
        for garbage in [&longer[..], b"{\"n\":1}\n", &[0; 64], &[0xFF; 64]] {
            assert_eq!(
                post_to(&doors, PATH, &headers, garbage).await.status,
                400,
                "{encoding}"
            );
        }
    }
    assert!(doors.batches("a").await.is_empty());
}

/// A frame of many blocks whose end mark is missing, cut where a block ends: a decoder alone takes it for whole.
#[tokio::test]
async fn a_frame_of_lz4_that_is_cut_between_blocks_is_400() {
    let doors = door::open().await;
    let info = FrameInfo::new().block_size(BlockSize::Max64KB);
    let whole = lz4(info, &lines(200_000));
    let cut = &whole[..whole.len() - 4];
    let answer = post_to(&doors, PATH, &[("content-encoding", "lz4")], cut).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn a_body_that_unpacks_to_too_much_is_413() {
    let doors = door::open().await;
    let mut fits = vec![b' '; BATCH_BYTES_MAX];
    fits[..3].copy_from_slice(b"{}\n");
    let bomb = vec![b' '; BATCH_BYTES_MAX + 1];
    for encoding in ENCODINGS {
        let headers = [("content-encoding", encoding)];
        let answer = post_to(&doors, PATH, &headers, &packed(encoding, &fits)).await;
        assert_eq!(answer.status, 200, "{encoding} {}", answer.body);
        let answer = post_to(&doors, PATH, &headers, &packed(encoding, &bomb)).await;
        assert_eq!(answer.status, 413, "{encoding}");
        assert!(
            answer.body["error"].as_str().unwrap().contains("16777216"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_window_that_is_larger_than_a_body_is_400() {
    let doors = door::open().await;
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&lines(1_000)).unwrap();
    let body = encoder.finish().unwrap();
    let answer = post_to(&doors, PATH, &[("content-encoding", "zstd")], &body).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(
        answer.body["error"].as_str().unwrap().contains("memory"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn an_encoding_that_is_not_known_is_415_and_tells_those_that_are() {
    let doors = door::open().await;
    let several = [("content-encoding", "gzip"), ("content-encoding", "zstd")];
    let cases: [&[(&str, &str)]; 4] = [
        &[("content-encoding", "br")],
        &[("content-encoding", "gzip, zstd")],
        &several,
        &[("content-encoding", "lz4-block")],
    ];
    for headers in cases {
        for path in [PATH, "/v1/cloudevents", "/v1/track", "/v1/logs"] {
            let mut headers = headers.to_vec();
            headers.push(("content-type", "application/json"));
            let headers: Vec<_> = match path {
                "/v1/cloudevents" => headers
                    .into_iter()
                    .filter(|(name, _)| *name != "content-type")
                    .chain([("content-type", "application/cloudevents+json")])
                    .collect(),
                _ => headers,
            };
            let answer = post_to(&doors, path, &headers, b"{}").await;
            assert_eq!(answer.status, 415, "{path} {headers:?} {}", answer.body);
            assert!(
                answer.head.contains("accept-encoding: gzip, zstd, lz4, deflate"),
                "{}",
                answer.head
            );
        }
    }
    for headers in [("content-encoding", "identity"), ("content-encoding", "GZIP")] {
        let body = match headers.1 {
            "GZIP" => packed("gzip", b"{}"),
            _ => b"{}".to_vec(),
        };
        assert_eq!(post_to(&doors, PATH, &[headers], &body).await.status, 200);
    }
}
