use prost::Message;
use serde_json::Value;

use super::*;
use crate::flow::{Captured, Opened};

/// A response as it stands on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseMessage {
    #[prost(oneof = "Response", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    response: Option<Response>,
}

/// Decodes all responses with prost and serde.
fn decode(codec: Codec, mut bytes: &[u8]) -> Vec<Response> {
    let mut responses = Vec::new();
    match codec {
        Codec::Proto => {
            while let Some((header, rest)) = bytes.split_first_chunk::<4>() {
                let (frame, rest) = rest.split_at(u32::from_le_bytes(*header) as usize);
                responses.push(ResponseMessage::decode(frame).unwrap().response.unwrap());
                bytes = rest;
            }
            assert!(bytes.is_empty());
        }
        Codec::Json => {
            assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
            for line in bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                responses.push(serde_json::from_slice(line).unwrap());
            }
        }
    }
    responses
}

fn capture<W: Write>(output: &mut Output<W>, binding: u32, document: &str) -> Result<()> {
    let mark = output.begin_captured(binding);
    output.buffer().extend_from_slice(document.as_bytes());
    output.end_captured(mark)
}

fn captured(binding: u32, document: &str) -> Response {
    Captured {
        binding,
        doc_json: document.to_owned(),
    }
    .into()
}

/// A JSON string of this many bytes, or a digit.
fn document(length: usize) -> String {
    match length {
        0 => String::new(),
        1 => "7".to_owned(),
        _ => format!("\"{}\"", "x".repeat(length - 2)),
    }
}

const CODECS: [Codec; 2] = [Codec::Proto, Codec::Json];

#[test]
fn decoders_read_back_what_was_written() {
    for codec in CODECS {
        let mut written = Vec::new();
        let mut expected = Vec::new();
        let mut output = Output::new(&mut written, codec);
        let lengths = (1..=300).chain([
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            3 * 1024 * 1024,
            20 << 20,
            5,
        ]);
        for (index, length) in lengths.enumerate() {
            let binding = [0, 1, 127, 128, 65_535][index % 5];
            let document = document(length);
            capture(&mut output, binding, &document).unwrap();
            expected.push(captured(binding, &document));
            match index % 7 {
                0 => {
                    let mark = output.begin_captured(3);
                    output
                        .buffer()
                        .extend_from_slice(b"{\"half\":\"of a document");
                    output.abandon(mark);
                }
                3 => {
                    output.checkpoint("{\"cursor\":\"0/1\"}").unwrap();
                    let state = ConnectorState {
                        updated_json: "{\"cursor\":\"0/1\"}".into(),
                        merge_patch: true,
                    };
                    expected.push(Checkpoint { state: Some(state) }.into());
                }
                5 => {
                    output.sourced_schema(2, "{\"type\":\"object\"}").unwrap();
                    let schema_json = "{\"type\":\"object\"}".into();
                    expected.push(
                        SourcedSchema {
                            binding: 2,
                            schema_json,
                        }
                        .into(),
                    );
                }
                _ => {}
            }
        }
        output.flush().unwrap();
        let found = decode(codec, &written);
        assert_eq!(found.len(), expected.len());
        assert!(found == expected, "{codec:?}: some response differs");
    }
}

#[test]
fn json_lines_have_the_documented_shapes() {
    let mut written = Vec::new();
    let mut output = Output::new(&mut written, Codec::Json);
    output
        .respond(
            &Opened {
                explicit_acknowledgements: true,
            }
            .into(),
        )
        .unwrap();
    output
        .respond(&crate::flow::Applied::default().into())
        .unwrap();
    output
        .respond(&crate::flow::Discovered::default().into())
        .unwrap();
    capture(&mut output, 0, "{\"id\":1}").unwrap();
    capture(&mut output, 2, "{\"id\":12345678901234567890.10}").unwrap();
    output.sourced_schema(3, "{\r\n  \"x\": 1.50\n}").unwrap();
    output.checkpoint("{\"cursor\":\"0/1\"}").unwrap();
    let expected = [
        "{\"opened\":{\"explicitAcknowledgements\":true}}",
        "{\"applied\":{}}",
        "{\"discovered\":{}}",
        "{\"captured\":{\"doc\":{\"id\":1}}}",
        "{\"captured\":{\"binding\":2,\"doc\":{\"id\":12345678901234567890.10}}}",
        "{\"sourcedSchema\":{\"binding\":3,\"documentSchema\":{    \"x\": 1.50 }}}",
        "{\"checkpoint\":{\"state\":{\"updated\":{\"cursor\":\"0/1\"},\"mergePatch\":true}}}",
        "",
    ];
    assert_eq!(String::from_utf8(written).unwrap(), expected.join("\n"));
}

#[test]
fn an_empty_document_is_rejected_and_removed_from_the_buffer() {
    for codec in CODECS {
        let mut written = Vec::new();
        let mut output = Output::new(&mut written, codec);
        capture(&mut output, 1, "1").unwrap();
        let pending = output.buffer.len();
        let error = capture(&mut output, 1, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(output.buffer.len(), pending);
        output.flush().unwrap();
        assert_eq!(decode(codec, &written), [captured(1, "1")]);
    }
}

#[test]
fn a_response_with_invalid_json_writes_nothing() {
    let mut written = Vec::new();
    let mut output = Output::new(&mut written, Codec::Json);
    output.checkpoint("{\"cursor\":").unwrap_err();
    output.checkpoint("{}").unwrap();
    assert_eq!(decode(Codec::Json, &written).len(), 1);
}

/// Counts the bytes that are written, and fails once its capacity is reached.
struct Pipe {
    taken: usize,
    capacity: usize,
    flushes: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.capacity - self.taken;
        if left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Takes at most 64 KiB at a time, as a pipe does.
        let taken = bytes.len().min(left).min(65_536);
        self.taken += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

#[test]
fn documents_are_buffered_and_other_responses_are_flushed() {
    for codec in CODECS {
        let pipe = Pipe {
            taken: 0,
            capacity: usize::MAX,
            flushes: 0,
        };
        let mut output = Output::new(pipe, codec);
        let large = document(600 * 1024);
        capture(&mut output, 1, &large).unwrap();
        assert_eq!(output.writer.taken, 0);
        assert!(output.buffer.len() > large.len());
        capture(&mut output, 1, &large).unwrap();
        assert!(output.writer.taken > 2 * large.len());
        assert_eq!((output.buffer.len(), output.writer.flushes), (0, 0));
        capture(&mut output, 1, "1").unwrap();
        output.checkpoint("{}").unwrap();
        assert_eq!((output.buffer.len(), output.writer.flushes), (0, 1));
    }
}

#[test]
fn the_buffer_is_reused_unless_a_document_made_it_huge() {
    let mut output = Output::new(io::sink(), Codec::Proto);
    let row = "{\"id\":12345678,\"name\":\"a name of common length\"}";
    let mut fill = || {
        for _ in 0..50_000 {
            capture(&mut output, 65_535, row).unwrap();
        }
        (output.buffer.capacity(), output.buffer.as_ptr())
    };
    assert_eq!(fill(), fill());
    capture(&mut output, 1, &document(2 * MAX_IDLE_BUFFER)).unwrap();
    assert!(output.buffer.capacity() <= MAX_IDLE_BUFFER);
}

#[test]
fn a_failed_write_is_reported_and_nothing_follows_it() {
    for codec in CODECS {
        let mut output = Output::new(
            Pipe {
                taken: 0,
                capacity: 7,
                flushes: 0,
            },
            codec,
        );
        capture(&mut output, 1, "{\"id\":1}").unwrap();
        let error = output.checkpoint("{}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(
            error.to_string(),
            "writing responses failed: the reader has closed the stream"
        );
        output.writer.capacity = 1000;
        assert_eq!(output.checkpoint("{}").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(output.writer.taken, 7);
    }
}

#[test]
fn padded_varints_and_bindings_encode_every_width() {
    for number in [0, 1, 127, 128, 9, 10, 99, 65_535, 1 << 28, u32::MAX] {
        let bytes = padded_varint(u64::from(number));
        let read = prost::encoding::decode_varint(&mut &bytes[..]).unwrap();
        assert_eq!(read, u64::from(number));
        let prefix = DocumentPrefix::new(Codec::Json, number);
        let binding = match number {
            0 => String::new(),
            _ => format!("\"binding\":{number},"),
        };
        let expected = format!("{{\"captured\":{{{binding}\"doc\":");
        assert_eq!(prefix.bytes[..prefix.length], *expected.as_bytes());
    }
}

#[test]
fn every_response_round_trips_in_both_codecs() {
    let discovered = crate::flow::DiscoveredBinding {
        recommended_name: "public/t".into(),
        resource_config_json: "{\"n\":1.10}".into(),
        document_schema_json: "true".into(),
        key: vec!["/a~1b".into(), "/ü".into()],
        disable: true,
        resource_path: vec!["public".into(), "t".into()],
        is_fallback_key: true,
    };
    let validated = crate::flow::ValidatedBinding {
        resource_path: vec!["s".into(), "t".into()],
    };
    let responses: [Response; 6] = [
        crate::flow::spec(Some("https://x")),
        crate::flow::Discovered {
            bindings: vec![discovered],
        }
        .into(),
        crate::flow::Validated {
            bindings: vec![validated],
        }
        .into(),
        crate::flow::Applied {
            action_description: "did \"it\"".into(),
        }
        .into(),
        captured(7, "[1,null]"),
        Checkpoint { state: None }.into(),
    ];
    for codec in CODECS {
        let mut written = Vec::new();
        let mut output = Output::new(&mut written, codec);
        for response in &responses {
            output.respond(response).unwrap();
        }
        assert!(decode(codec, &written) == responses, "{codec:?}");
    }
    let mut line = Vec::new();
    responses[1].encode_frame(Codec::Json, &mut line).unwrap();
    let value: Value = serde_json::from_slice(&line).unwrap();
    let expected = serde_json::json!({"discovered": {"bindings": [{
        "recommendedName": "public/t", "documentSchema": true, "key": ["/a~1b", "/ü"],
        "resourceConfig": {"n": value["discovered"]["bindings"][0]["resourceConfig"]["n"]},
        "disable": true, "resourcePath": ["public", "t"], "isFallbackKey": true,
    }]}});
    assert_eq!(value, expected);
}

#[test]
fn protobuf_frames_have_the_documented_field_numbers() {
    let mut written = Vec::new();
    let mut output = Output::new(&mut written, Codec::Proto);
    capture(&mut output, 300, "{}").unwrap();
    output.sourced_schema(1, "{}").unwrap();
    output.checkpoint("{}").unwrap();
    output
        .respond(
            &Opened {
                explicit_acknowledgements: true,
            }
            .into(),
        )
        .unwrap();
    let expected: &[&[u8]] = &[
        // The two lengths before the document are padded to five bytes.
        b"\x11\0\0\0\x32\x8b\x80\x80\x80\x00\x08\xac\x02\x12\x82\x80\x80\x80\x00{}",
        b"\x08\0\0\0\x42\x06\x08\x01\x12\x02{}",
        b"\x0a\0\0\0\x3a\x08\x0a\x06\x0a\x02{}\x10\x01",
        b"\x04\0\0\0\x2a\x02\x08\x01",
    ];
    assert_eq!(written, expected.concat());
}
