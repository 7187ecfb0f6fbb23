use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use tokio::io::ReadBuf;

use super::*;
use crate::flow::{
    Acknowledge, Apply, CaptureBinding, CaptureSpec, CollectionSpec, Discover, Open, Projection,
    RangeSpec, Validate, ValidateBinding,
};

/// Input that returns at most `length` bytes per read.
struct Chunked {
    bytes: Vec<u8>,
    position: usize,
    length: usize,
}

impl AsyncRead for Chunked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // Every second call is pending, so that tests can drop a call to `next` in between.
        self.length ^= 1 << 31;
        if self.length & (1 << 31) != 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let end = (self.position + self.length.min(buffer.remaining())).min(self.bytes.len());
        buffer.put_slice(&self.bytes[self.position..end]);
        self.position = end;
        Poll::Ready(Ok(()))
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn read_all(codec: Codec, bytes: &[u8], chunk_len: usize) -> Result<Vec<Request>> {
    run(async {
        let input = Chunked {
            bytes: bytes.to_vec(),
            position: 0,
            length: chunk_len,
        };
        let mut reader = RequestReader::new(input, codec);
        let mut requests = Vec::new();
        while let Some(request) = reader.next().await? {
            requests.push(request);
        }
        // The end of the stream is final.
        assert!(reader.next().await?.is_none());
        Ok(requests)
    })
}

fn json(text: &str) -> Result<Vec<Request>> {
    read_all(Codec::Json, text.as_bytes(), usize::MAX >> 33)
}

#[track_caller]
fn assert_rejected(text: &str, expected: &str) {
    let error = json(text).expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let found = format!("{error}: {}", error.causes().unwrap_or_default());
    assert!(
        found.contains(expected),
        "{text}\n found: {found}\n expected: {expected}"
    );
}

fn collection(name: &str) -> CollectionSpec {
    CollectionSpec {
        name: name.into(),
        key: vec!["/id".into()],
        projections: vec![Projection {
            ptr: "/_meta/source/txid".into(),
        }],
    }
}

fn inline_capture() -> CaptureSpec {
    CaptureSpec {
        name: "acme/capture".into(),
        connector_type: 7,
        config_json: r#"{"address":"h","n":12345678901234567890.10}"#.into(),
        bindings: vec![CaptureBinding {
            resource_config_json: r#"{"namespace":"s","stream":"t"}"#.into(),
            resource_path: vec!["s".into(), "t".into()],
            collection: Some(collection("acme/t")),
            backfill: 3,
            state_key: "s%2Ft.v3".into(),
            collection_index: 0,
        }],
        linked_collections: Vec::new(),
    }
}

fn linked_capture() -> CaptureSpec {
    let mut capture = inline_capture();
    capture.bindings[0].collection = None;
    capture.bindings[0].collection_index = 1;
    capture.bindings.push(CaptureBinding {
        collection_index: 0,
        ..capture.bindings[0].clone()
    });
    capture.linked_collections = vec![collection("acme/a"), collection("acme/b")];
    capture
}

fn session() -> Vec<Request> {
    let validate = Validate {
        name: "acme/capture".into(),
        connector_type: 8,
        config_json: "{}".into(),
        bindings: vec![ValidateBinding {
            resource_config_json: "{}".into(),
            collection: None,
            backfill: 4,
            collection_index: 1,
        }],
        last_capture: Some(inline_capture()),
        linked_collections: vec![collection("acme/a"), collection("acme/b")],
    };
    vec![
        Request::Spec,
        Request::Discover(Discover {
            connector_type: 7,
            config_json: "{\"a\":1}".into(),
        }),
        Request::Validate(validate),
        Request::Apply(Apply {
            capture: Some(linked_capture()),
        }),
        Request::Open(Open {
            capture: Some(inline_capture()),
            range: Some(RangeSpec {
                key_begin: 0,
                key_end: u32::MAX,
                r_clock_begin: 0,
                r_clock_end: u32::MAX,
            }),
            state_json: "{\"cursor\":\"0/1\"}".into(),
        }),
        Request::Acknowledge(Acknowledge { checkpoints: 32 }),
        Request::Acknowledge(Acknowledge { checkpoints: 0 }),
    ]
}

fn wire(request: &Request) -> RequestMessage {
    let mut message = RequestMessage::default();
    match request.clone() {
        Request::Spec => message.spec = Some(Default::default()),
        Request::Discover(request) => message.discover = Some(request),
        Request::Validate(request) => message.validate = Some(request),
        Request::Apply(request) => message.apply = Some(request),
        Request::Open(request) => message.open = Some(request),
        Request::Acknowledge(request) => message.acknowledge = Some(request),
    }
    message
}

fn encode(codec: Codec, requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        let message = wire(request);
        match codec {
            Codec::Proto => {
                let length = u32::try_from(message.encoded_len()).unwrap();
                bytes.extend_from_slice(&length.to_le_bytes());
                message.encode(&mut bytes).unwrap();
            }
            Codec::Json => {
                serde_json::to_writer(&mut bytes, &message).unwrap();
                bytes.push(b'\n');
            }
        }
    }
    bytes
}

#[test]
fn requests_are_read_whatever_the_sizes_of_reads() {
    let expected = session();
    for codec in [Codec::Proto, Codec::Json] {
        let bytes = encode(codec, &expected);
        for chunk_len in [1, 2, 3, 7, 64, 1000, 1 << 20] {
            assert_eq!(
                read_all(codec, &bytes, chunk_len).unwrap(),
                expected,
                "{codec:?} {chunk_len}"
            );
        }
    }
}

#[test]
fn input_that_ends_within_a_message_is_an_error() {
    let requests = session();
    for codec in [Codec::Proto, Codec::Json] {
        let bytes = encode(codec, &requests);
        let ends: Vec<_> = (0..=requests.len())
            .map(|count| encode(codec, &requests[..count]).len())
            .flat_map(|end| match codec {
                Codec::Proto => vec![end],
                // With or without the line feed.
                Codec::Json => vec![end.saturating_sub(1), end],
            })
            .collect();
        for cut in 0..bytes.len() {
            let result = read_all(codec, &bytes[..cut], 1 << 20);
            assert_eq!(
                result.is_ok(),
                ends.contains(&cut),
                "{codec:?} {cut}: {result:?}"
            );
        }
    }
}

#[test]
fn a_dropped_call_to_next_loses_no_data() {
    for codec in [Codec::Proto, Codec::Json] {
        let expected = session();
        let bytes = encode(codec, &expected);
        let requests = run(async {
            let input = Chunked {
                bytes,
                position: 0,
                length: 5,
            };
            let mut reader = RequestReader::new(input, codec);
            let mut requests = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    request = reader.next() => match request.unwrap() {
                        Some(request) => requests.push(request),
                        None => return requests,
                    },
                    () = std::future::ready(()) => {}
                }
            }
        });
        assert_eq!(requests, expected);
    }
}

#[test]
fn json_accepts_the_variants_of_the_protobuf_mapping() {
    let requests = json(
        r#"
        {"spec":{"connectorType":"IMAGE","config":{}},"discover":null,"$internal":"AAA=","new":[1]}
        {"discover":{"connector_type":8,"config_json":{"b":"}{\"","n":1.10},"name":null,"secrets":{}}}
        {"open":{"capture":{"name":"x","connectorType":"LOCAL","config":{},
            "shardTemplate":{"id":"s","maxTxnDuration":"60s","labels":{"labels":[{"name":"a"}]}},
            "bindings":[{"resourceConfig":{"x":12345678901234567890.10},"resource_path":["s","t"],
                "collection":{"name":"c","key":["/id"],"partitionTemplate":{"fragment":{"length":"5"}},
                    "projections":[{"ptr":"/id","inference":{"types":["integer"],"exists":"MUST"}}]},
                "backfill":"7","stateKey":"k","collectionIndex":null}],
            "linkedCollections":[],"redactSalt":"AAA="},
            "version":"v","range":{"keyEnd":4294967295,"r_clock_end":"4294967295"},"state":null}}{"acknowledge":{"checkpoints":"3"}}
        {"acknowledge":{}}"#,
    )
    .unwrap();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[0], Request::Spec);
    let Request::Discover(discover) = &requests[1] else {
        panic!("{:?}", requests[1])
    };
    assert_eq!(discover.connector_type, 8);
    assert_eq!(discover.config_json, r#"{"b":"}{\"","n":1.10}"#);
    let Request::Open(open) = &requests[2] else {
        panic!("{:?}", requests[2])
    };
    let binding = &open.capture().unwrap().bindings[0];
    assert_eq!(
        binding.resource_config_json,
        r#"{"x":12345678901234567890.10}"#
    );
    assert_eq!((binding.backfill, &*binding.state_key), (7, "k"));
    assert_eq!(open.state_json, "");
    assert_eq!(open.range.unwrap().r_clock_end, u32::MAX);
    let collection = open.capture().unwrap().collection_of(binding).unwrap();
    assert_eq!(collection.projections, [Projection { ptr: "/id".into() }]);
    let counts: Vec<_> = requests[3..]
        .iter()
        .map(|request| match request {
            Request::Acknowledge(acknowledge) => acknowledge.count(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [3, 1]);
}

#[test]
fn protobuf_skips_unknown_and_unused_fields() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Newer {
        #[prost(message, optional, tag = "6")]
        acknowledge: Option<NewerAcknowledge>,
        #[prost(bytes = "vec", tag = "100")]
        internal: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct NewerAcknowledge {
        #[prost(uint32, tag = "1")]
        checkpoints: u32,
        #[prost(map = "string, string", tag = "77")]
        more: std::collections::HashMap<String, String>,
    }
    let more = [("a".to_owned(), "b".to_owned())].into();
    let newer = Newer {
        acknowledge: Some(NewerAcknowledge {
            checkpoints: 9,
            more,
        }),
        internal: vec![0xff; 300],
    };
    let message = RequestMessage::decode(&newer.encode_to_vec()[..]).unwrap();
    assert_eq!(
        message.check().unwrap(),
        Request::Acknowledge(Acknowledge { checkpoints: 9 })
    );
}

#[test]
fn malformed_requests_are_rejected() {
    for (text, expected) in [
        ("null", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("\u{feff}{}", "must be a JSON object"),
        ("\0\0\0\0", "FLOW_RUNTIME_CODEC"),
        ("{}", "empty"),
        (r#"{"unknown":{}}"#, "empty"),
        (
            r#"{"spec":{},"discover":{}}"#,
            "of one kind, found Spec and Discover",
        ),
        (r#"{"spec":{}]"#, "not valid JSON"),
        (r#"{"spec":7}"#, "not valid JSON"),
        (
            r#"{"discover":{"config":{}}}"#,
            "the connector type must be IMAGE or LOCAL",
        ),
        (
            r#"{"discover":{"connectorType":"WASM","config":{}}}"#,
            "the connector type",
        ),
        (
            r#"{"discover":{"connectorType":"IMAGE"}}"#,
            "the endpoint configuration is missing",
        ),
        (
            r#"{"validate":{"connectorType":"IMAGE"}}"#,
            "the endpoint configuration is missing",
        ),
        (
            r#"{"validate":{"connectorType":7,"config":{},"bindings":[{}]}}"#,
            "binding 0: the resource configuration is missing",
        ),
        (
            r#"{"validate":{"connectorType":7,"config":{},"bindings":[{"resourceConfig":{},
                "collectionIndex":2}],"linkedCollections":[{"key":["/a"]}]}}"#,
            "collection index 2, but there are 1 linked collections",
        ),
        (
            r#"{"validate":{"connectorType":7,"config":{},"bindings":[{"resourceConfig":{},
                "backfill":-1}]}}"#,
            "from 0 to 4294967295",
        ),
        (
            r#"{"validate":{"connectorType":7,"config":{},"lastCapture":{}}}"#,
            "the last capture",
        ),
        (r#"{"apply":{}}"#, "the capture is missing"),
        (
            r#"{"open":{"capture":{}}}"#,
            "the capture has no configuration",
        ),
        (
            r#"{"open":{"capture":{"config":{}},"range":{"keyBegin":5,"keyEnd":4}}}"#,
            "the range ends before it begins",
        ),
        (
            r#"{"open":{"capture":{"config":{},"bindings":[{"resourceConfig":{},
                "collection":{"key":["/a"]}}]}}}"#,
            "no state key",
        ),
        (
            r#"{"acknowledge":{}}"#,
            "unexpected Acknowledge request before Open",
        ),
        (
            r#"{"open":{"capture":{"config":{}}}}{"spec":{}}"#,
            "unexpected Spec request after Open",
        ),
    ] {
        assert_rejected(text, expected);
    }
}

#[test]
fn memory_is_not_allocated_for_a_length_before_its_data() {
    run(async {
        let mut bytes = (400_u32 << 20).to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 100]);
        let mut reader = RequestReader::new(&bytes[..], Codec::Proto);
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(reader.buffer.capacity() < 1 << 20);

        let bytes = b"{\"spec\":{}}\n";
        let mut reader = RequestReader::new(&bytes[..], Codec::Proto);
        let error = reader.next().await.unwrap_err().to_string();
        assert!(error.contains("FLOW_RUNTIME_CODEC=json"), "{error}");
    });
}

#[test]
fn the_memory_of_a_large_request_is_freed() {
    run(async {
        let config_json = format!("\"{}\"", "x".repeat(5 << 20));
        let large = Request::Discover(Discover {
            connector_type: 7,
            config_json,
        });
        for codec in [Codec::Proto, Codec::Json] {
            let mut bytes = encode(codec, std::slice::from_ref(&large));
            if codec == Codec::Json {
                bytes.pop();
            }
            let mut reader = RequestReader::new(&bytes[..], codec);
            assert!(reader.next().await.unwrap().as_ref() == Some(&large));
            assert_eq!(reader.buffer.capacity(), 0);
            assert!(reader.next().await.unwrap().is_none());
        }
    });
}

/// Encodes a message with these length-delimited fields, each given by number and bytes.
fn fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, bytes) in fields {
        message.push(number << 3 | 2);
        prost::encoding::encode_varint(bytes.len() as u64, &mut message);
        message.extend_from_slice(bytes);
    }
    message
}

#[test]
fn protobuf_fields_have_the_documented_numbers() {
    let read = |number: u8, request: &[u8]| {
        RequestMessage::decode(&fields(&[(number, request)])[..])
            .unwrap()
            .check()
            .unwrap()
    };
    let collection = fields(&[
        (1, b"c"),
        (3, b"/id"),
        (4, b"/_meta/uuid"),
        (6, &fields(&[(1, b"/p"), (2, b"f")])),
    ]);
    let mut binding = fields(&[(1, b"{\"r\":1}"), (2, b"s"), (2, b"t"), (5, b"key")]);
    // backfill = 9, collection_index = 1
    binding.extend_from_slice(b"\x20\x09\x30\x01");
    let mut capture = fields(&[(1, b"task"), (3, b"{\"c\":1}"), (4, &binding)]);
    capture.extend_from_slice(b"\x10\x07\x28\xac\x02");
    capture.extend(fields(&[(9, &binding), (12, b""), (12, &collection)]));
    let range = b"\x15\0\0\0\0\x1d\xff\xff\xff\xff\x25\0\0\0\0\x2d\xff\xff\xff\xff";
    let open = read(
        5,
        &fields(&[(1, &capture), (2, b"v"), (3, range), (4, b"{\"s\":1}")]),
    );
    let Request::Open(open) = open else {
        panic!("{open:?}")
    };
    assert_eq!(
        (&*open.state_json, open.range.unwrap().r_clock_end),
        ("{\"s\":1}", u32::MAX)
    );
    let capture_spec = open.capture().unwrap();
    assert_eq!(
        (&*capture_spec.name, &*capture_spec.config_json),
        ("task", "{\"c\":1}")
    );
    assert_eq!(capture_spec.connector_type, 7);
    let [binding] = &capture_spec.bindings[..] else {
        panic!("{capture_spec:?}")
    };
    assert_eq!((binding.backfill, &*binding.state_key), (9, "key"));
    assert_eq!(binding.resource_path, ["s", "t"]);
    assert_eq!(binding.resource_config_json, "{\"r\":1}");
    let found = capture_spec.collection_of(binding).unwrap();
    assert_eq!(
        (&*found.name, &found.key[..]),
        ("c", &["/id".to_owned()][..])
    );
    assert_eq!(found.projections, [Projection { ptr: "/p".into() }]);

    // connector_type = 7, then the configuration
    let discover = read(2, b"\x08\x07\x12\x02{}");
    assert!(
        matches!(discover, Request::Discover(Discover { config_json, .. }) if config_json == "{}")
    );

    let mut bound = fields(&[(1, b"{}")]);
    // backfill = 9, collection_index = 1
    bound.extend_from_slice(b"\x18\x09\x20\x01");
    let mut validate = fields(&[(1, b"task"), (3, b"{}"), (4, &bound), (5, &capture)]);
    validate.extend(fields(&[(6, b"v"), (7, b""), (7, &collection)]));
    validate.extend_from_slice(b"\x10\x08");
    let Request::Validate(validate) = read(3, &validate) else {
        panic!("no Validate")
    };
    assert_eq!(
        (validate.bindings[0].backfill, validate.connector_type),
        (9, 8)
    );
    assert_eq!(
        validate.collection_of(&validate.bindings[0]).unwrap().name,
        "c"
    );
    assert_eq!(validate.last_capture.as_ref(), Some(capture_spec));

    let Request::Apply(apply) = read(4, &fields(&[(1, &capture)])) else {
        panic!("no Apply")
    };
    assert_eq!(apply.capture.as_ref(), Some(capture_spec));
    assert_eq!(
        read(6, b"\x08\x20"),
        Request::Acknowledge(Acknowledge { checkpoints: 32 })
    );
    assert_eq!(read(1, b"\x08\x07\x12\x02{}"), Request::Spec);
}
