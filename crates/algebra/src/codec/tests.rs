//! Reading front to back: each refusal has its kind, its place and a text that says what to do.

use serde::{Deserialize, Serialize};

use super::*;

fn refusal<T>(result: Result<T, DecodeError>) -> (DecodeErrorKind, String) {
    let error = result.err().expect("refused");
    (error.kind(), error.to_string())
}

#[test]
fn headers() {
    let mut bytes = Vec::new();
    put_header(&mut bytes, kind::POINTWISE, 3);
    assert_eq!(bytes, [kind::POINTWISE.0, 3]);
    Input::new(&bytes).header(kind::POINTWISE, 3).unwrap();

    let (why, text) = refusal(Input::new(&bytes).header(kind::SPARSE_MAP, 3));
    assert_eq!(why, DecodeErrorKind::Corrupt);
    assert_eq!(
        text,
        "another kind of value: expected=SparseMap found=Pointwise at=2"
    );
    let (why, text) = refusal(Input::new(&bytes).header(kind::POINTWISE, 1));
    assert_eq!(why, DecodeErrorKind::Version);
    assert!(text.contains("expected=1 found=3"), "{text}");
    let (why, text) = refusal(Input::new(&[0, 1]).header(kind::POINTWISE, 1));
    assert_eq!(
        (why, text.contains("found=unknown(0)")),
        (DecodeErrorKind::Corrupt, true)
    );
    assert_eq!(
        refusal(Input::new(&bytes[..1]).header(kind::POINTWISE, 3)).0,
        DecodeErrorKind::Corrupt
    );
}

#[test]
fn shapes() {
    let mut bytes = Vec::new();
    put_shape(&mut bytes, 12);
    Input::new(&bytes).shape("BITS", 12).unwrap();
    let (why, text) = refusal(Input::new(&bytes).shape("BITS", 14));
    assert_eq!(why, DecodeErrorKind::Shape);
    assert!(
        text.ends_with("parameter=BITS expected=14 found=12 at=8"),
        "{text}"
    );
    assert_eq!(
        refusal(Input::new(&bytes[1..]).shape("BITS", 12)).0,
        DecodeErrorKind::Corrupt
    );
}

#[test]
fn lengths() {
    let mut bytes = Vec::new();
    put_length(&mut bytes, 3);
    bytes.extend_from_slice(&[0; 6]);
    assert_eq!(Input::new(&bytes).length(2).unwrap(), 3);
    assert_eq!(Input::new(&bytes).length(0).unwrap(), 3);
    let (why, text) = refusal(Input::new(&bytes).length(3));
    assert_eq!(why, DecodeErrorKind::Corrupt);
    assert_eq!(text, "length exceeds what is left: length=3 left=6 at=4");
    // The product of the two must not wrap.
    let most = [u32::MAX.to_le_bytes(), [0; 4]].concat();
    assert_eq!(
        refusal(Input::new(&most).length(usize::MAX)).0,
        DecodeErrorKind::Corrupt
    );
}

#[test]
fn parts_and_the_end() {
    let mut input = Input::new(&[1, 2, 3, 4]);
    assert_eq!(input.take(2).unwrap(), [1, 2]);
    assert_eq!((input.remaining(), input.array::<1>().unwrap()), (1 + 1, [3]));
    let (why, text) = refusal(input.take(2));
    assert_eq!(why, DecodeErrorKind::Corrupt);
    assert_eq!(text, "bytes end early: needed=2 left=1 at=3");
    // What was refused was not taken.
    assert_eq!(input.remaining(), 1);
    assert_eq!(
        refusal(input.clone().finish()).1,
        "bytes are left over: left=1 at=3"
    );
    input.take(1).unwrap();
    input.finish().unwrap();
}

#[test]
fn records() {
    let mut input = Input::new(&[1, 7, 1, 8]);
    let mut one = || input.record("One", 1, u8::decode);
    assert_eq!((one().unwrap(), one().unwrap()), (7, 8));
    assert_eq!(
        refusal(Input::new(&[2, 7]).record("One", 1, u8::decode)).0,
        DecodeErrorKind::Version
    );
    assert_eq!(
        refusal(Input::new(&[]).record("One", 1, u8::decode)).0,
        DecodeErrorKind::Corrupt
    );
}

/// A field that is kept through its bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    #[serde(with = "crate::codec")]
    value: Vec<u8>,
}

#[test]
fn as_text_they_are_base64() {
    let row = Row { value: vec![1, 255] };
    let text = serde_json::to_string(&row).unwrap();
    assert_eq!(text, r#"{"value":"AgAAAAH/"}"#);
    assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    let refused = |text: &str| serde_json::from_str::<Row>(text).unwrap_err().to_string();
    assert!(refused(r#"{"value":"AwAAAAH/"}"#).contains("length exceeds what is left"));
    assert!(refused(r#"{"value":"A?"}"#).contains("Invalid"));
    assert!(refused(r#"{"value":7}"#).contains("the bytes of a value"));
}
