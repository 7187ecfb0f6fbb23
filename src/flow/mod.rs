//! The Flow capture protocol: messages, both codecs, the request loop, the output.
//!
//! Requests come from [`RequestReader`], already checked; responses go through [`Output`]. Messages
//! are tolerant where the configuration is strict: what is unknown is skipped, and members that this
//! connector has no use for are not even declared. Raw JSON is carried as text from end to end, so
//! that numbers keep their digits.

mod codec;
mod collection;
mod fields;
mod output;
mod reader;
mod request;
mod response;
mod spec;

pub use codec::Codec;
pub use collection::{
    CaptureBinding, CaptureSpec, CollectionSpec, ConnectorType, Projection, ValidateBinding,
};
pub use output::{Mark, Output, stdout};
pub use reader::RequestReader;
pub use request::{Acknowledge, Apply, Discover, Open, RangeSpec, Request, Validate};
pub use response::{
    Applied, Captured, Checkpoint, ConnectorState, Discovered, DiscoveredBinding, Opened, Response,
    SourcedSchema, Spec, Validated, ValidatedBinding,
};
pub use spec::spec;
