//! The Flow capture protocol: messages, both codecs, the request reader, the output.
//!
//! [`RequestReader`] returns checked requests; [`Output`] writes responses. Unlike the parser of
//! the configuration, the parsers of messages are tolerant: they skip unknown members, and the
//! types here do not declare members that this connector does not use. JSON within messages stays
//! text throughout, so that numbers keep all their digits.

mod codec;
mod collection;
mod connector_type;
mod fields;
mod output;
mod reader;
mod request;
mod response;
mod spec;

pub use codec::Codec;
pub use collection::{CaptureBinding, CaptureSpec, CollectionSpec, Projection, ValidateBinding};
pub use connector_type::ConnectorType;
pub use output::{Mark, Output, stdout};
pub use reader::RequestReader;
pub use request::{Acknowledge, Apply, Discover, Open, RangeSpec, Request, Validate};
pub use response::{
    Applied, Captured, Checkpoint, ConnectorState, Discovered, DiscoveredBinding, Opened, Response,
    SourcedSchema, Spec, Validated, ValidatedBinding,
};
pub use spec::spec;
