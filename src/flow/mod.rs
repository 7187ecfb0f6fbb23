//! The Flow capture protocol: messages, both codecs, the request loop, the output.
