//! Encoders for the messages that a server sends in the frontend/backend protocol.

use bytes::{BufMut, BytesMut};

use crate::{
    Authentication, BackendMessage, EncodeError, FieldDescription, Format, Oid, TransactionStatus,
    codec::{put_c_str, put_count16, put_frame, put_sized},
    message::tag,
};

type Encoded = Result<(), EncodeError>;

/// Appends a message.
pub fn backend_message(out: &mut BytesMut, message: &BackendMessage<'_>) -> Encoded {
    let put_empty = |out: &mut BytesMut, tag| frame(out, tag, |_| Ok(()));
    match message {
        BackendMessage::Authentication(step) => authentication(out, step),
        BackendMessage::BackendKeyData(data) => frame(out, tag::BACKEND_KEY_DATA, |out| {
            out.put_u32(data.process_id.as_u32());
            out.put_slice(data.secret);
            Ok(())
        }),
        BackendMessage::BindComplete => put_empty(out, tag::BIND_COMPLETE),
        BackendMessage::CloseComplete => put_empty(out, tag::CLOSE_COMPLETE),
        BackendMessage::CommandComplete(command) => frame(out, tag::COMMAND_COMPLETE, |out| {
            put_c_str(out, command, "command tag")
        }),
        BackendMessage::CopyBothResponse(response) => copy_response(
            out,
            tag::COPY_BOTH_RESPONSE,
            response.format,
            response.columns(),
        ),
        BackendMessage::CopyData(data) => frame(out, tag::COPY_DATA, |out| {
            out.put_slice(data);
            Ok(())
        }),
        BackendMessage::CopyDone => put_empty(out, tag::COPY_DONE),
        BackendMessage::CopyInResponse(response) => copy_response(
            out,
            tag::COPY_IN_RESPONSE,
            response.format,
            response.columns(),
        ),
        BackendMessage::CopyOutResponse(response) => copy_response(
            out,
            tag::COPY_OUT_RESPONSE,
            response.format,
            response.columns(),
        ),
        BackendMessage::DataRow(row) => data_row(out, row.iter()),
        BackendMessage::EmptyQueryResponse => put_empty(out, tag::EMPTY_QUERY_RESPONSE),
        BackendMessage::ErrorResponse(report) => {
            put_fields(out, tag::ERROR_RESPONSE, report.fields())
        }
        BackendMessage::FunctionCallResponse(value) => {
            frame(out, tag::FUNCTION_CALL_RESPONSE, |out| {
                put_sized(out, *value, "result")
            })
        }
        BackendMessage::NegotiateProtocolVersion(negotiation) => {
            negotiate_protocol_version(out, negotiation.version, negotiation.options())
        }
        BackendMessage::NoData => put_empty(out, tag::NO_DATA),
        BackendMessage::NoticeResponse(report) => {
            put_fields(out, tag::NOTICE_RESPONSE, report.fields())
        }
        BackendMessage::NotificationResponse(notification) => {
            frame(out, tag::NOTIFICATION_RESPONSE, |out| {
                out.put_u32(notification.process_id.as_u32());
                put_c_bytes(out, notification.channel, "channel")?;
                put_c_bytes(out, notification.payload, "payload")
            })
        }
        BackendMessage::ParameterDescription(description) => {
            parameter_description(out, description.iter())
        }
        BackendMessage::ParameterStatus { name, value } => {
            frame(out, tag::PARAMETER_STATUS, |out| {
                put_c_str(out, name, "parameter")?;
                put_c_str(out, value, "value of a parameter")
            })
        }
        BackendMessage::ParseComplete => put_empty(out, tag::PARSE_COMPLETE),
        BackendMessage::PortalSuspended => put_empty(out, tag::PORTAL_SUSPENDED),
        BackendMessage::ReadyForQuery(status) => frame(out, tag::READY_FOR_QUERY, |out| {
            out.put_u8(match status {
                TransactionStatus::Idle => b'I',
                TransactionStatus::InTransaction => b'T',
                TransactionStatus::Failed => b'E',
            });
            Ok(())
        }),
        BackendMessage::RowDescription(description) => row_description(out, description.iter()),
    }
}

fn authentication(out: &mut BytesMut, step: &Authentication<'_>) -> Encoded {
    let (code, data): (u32, &[u8]) = match step {
        Authentication::Ok => (0, &[]),
        Authentication::KerberosV5 => (2, &[]),
        Authentication::CleartextPassword => (3, &[]),
        Authentication::CryptPassword => (4, &[0, 0]),
        Authentication::Md5Password { salt } => (5, salt),
        Authentication::ScmCredential => (6, &[]),
        Authentication::Gss => (7, &[]),
        Authentication::GssContinue(data) => (8, data),
        Authentication::Sspi => (9, &[]),
        Authentication::Sasl(names) => return authentication_sasl(out, names.iter()),
        Authentication::SaslContinue(data) => (11, data),
        Authentication::SaslFinal(data) => (12, data),
    };
    frame(out, tag::AUTHENTICATION, |out| {
        out.put_u32(code);
        out.put_slice(data);
        Ok(())
    })
}

/// Appends AuthenticationSASL with the names of the mechanisms.
pub fn authentication_sasl<'a>(
    out: &mut BytesMut,
    mechanisms: impl IntoIterator<Item = &'a str>,
) -> Encoded {
    frame(out, tag::AUTHENTICATION, |out| {
        out.put_u32(10);
        for mechanism in mechanisms {
            put_c_str(out, mechanism, "SASL mechanism")?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// Appends CopyInResponse (`b'G'`), CopyOutResponse (`b'H'`) or CopyBothResponse (`b'W'`).
pub fn copy_response(
    out: &mut BytesMut,
    tag: u8,
    format: Format,
    columns: impl IntoIterator<Item = Format>,
) -> Encoded {
    frame(out, tag, |out| {
        out.put_u8(u8::from(format == Format::Binary));
        put_counted(out, columns, "list of columns", |out, column| {
            out.put_u16(column.code());
            Ok(())
        })
    })
}

/// Appends DataRow; `None` is NULL.
pub fn data_row<'a>(
    out: &mut BytesMut,
    values: impl IntoIterator<Item = Option<&'a [u8]>>,
) -> Encoded {
    frame(out, tag::DATA_ROW, |out| {
        put_counted(out, values, "list of columns", |out, value| {
            put_sized(out, value, "value")
        })
    })
}

/// Appends RowDescription.
pub fn row_description<'a>(
    out: &mut BytesMut,
    columns: impl IntoIterator<Item = FieldDescription<'a>>,
) -> Encoded {
    frame(out, tag::ROW_DESCRIPTION, |out| {
        put_counted(out, columns, "list of columns", |out, column| {
            put_c_str(out, column.name, "name of a column")?;
            out.put_u32(column.table.as_u32());
            out.put_i16(column.column);
            out.put_u32(column.type_oid.as_u32());
            out.put_i16(column.type_size);
            out.put_i32(column.type_modifier);
            out.put_u16(column.format.code());
            Ok(())
        })
    })
}

/// Appends ErrorResponse with its fields: the code and the text of each.
pub fn error_response<'a>(
    out: &mut BytesMut,
    report: impl IntoIterator<Item = (u8, &'a str)>,
) -> Encoded {
    let report = report
        .into_iter()
        .map(|(kind, text)| (kind, text.as_bytes()));
    put_fields(out, tag::ERROR_RESPONSE, report)
}

/// Appends NoticeResponse with its fields: the code and the text of each.
pub fn notice_response<'a>(
    out: &mut BytesMut,
    report: impl IntoIterator<Item = (u8, &'a str)>,
) -> Encoded {
    let report = report
        .into_iter()
        .map(|(kind, text)| (kind, text.as_bytes()));
    put_fields(out, tag::NOTICE_RESPONSE, report)
}

fn put_fields<'a>(
    out: &mut BytesMut,
    tag: u8,
    report: impl IntoIterator<Item = (u8, &'a [u8])>,
) -> Encoded {
    frame(out, tag, |out| {
        for (kind, text) in report {
            out.put_u8(kind);
            put_c_bytes(out, text, "field of a report")?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// Appends ParameterDescription.
pub fn parameter_description(out: &mut BytesMut, types: impl IntoIterator<Item = Oid>) -> Encoded {
    frame(out, tag::PARAMETER_DESCRIPTION, |out| {
        put_counted(out, types, "list of parameters", |out, oid| {
            out.put_u32(oid.as_u32());
            Ok(())
        })
    })
}

/// Appends NegotiateProtocolVersion with the names of the options that are not supported.
pub fn negotiate_protocol_version<'a>(
    out: &mut BytesMut,
    version: u32,
    options: impl IntoIterator<Item = &'a str>,
) -> Encoded {
    frame(out, tag::NEGOTIATE_PROTOCOL_VERSION, |out| {
        out.put_u32(version);
        let options: Vec<_> = options.into_iter().collect();
        let count = u32::try_from(options.len());
        out.put_u32(count.map_err(|_| EncodeError::TooLong("list of options"))?);
        options
            .into_iter()
            .try_for_each(|option| put_c_str(out, option, "option"))
    })
}

fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut) -> Encoded) -> Encoded {
    put_frame(out, Some(tag), "message", body)
}

/// Appends a 16-bit count and the elements.
pub(super) fn put_counted<T>(
    out: &mut BytesMut,
    elements: impl IntoIterator<Item = T>,
    what: &'static str,
    mut put: impl FnMut(&mut BytesMut, T) -> Encoded,
) -> Encoded {
    let elements: Vec<T> = elements.into_iter().collect();
    put_count16(out, elements.len(), what)?;
    elements
        .into_iter()
        .try_for_each(|element| put(out, element))
}

fn put_c_bytes(out: &mut BytesMut, text: &[u8], what: &'static str) -> Encoded {
    if text.contains(&0) {
        return Err(EncodeError::ZeroByte(what));
    }
    out.put_slice(text);
    out.put_u8(0);
    Ok(())
}
