-- Functions that return random values. The seed is set with setseed().
create schema make;

-- Returns the largest code point of the database's encoding.
create function make.largest() returns int language sql stable as $$
    select case pg_encoding_to_char(encoding) when 'UTF8' then 1114111 when 'LATIN1' then 255 else 127 end
    from pg_database where datname = current_database()
$$;

-- Returns the largest code point that an escape in jsonb can have. Before version 13 only ASCII is
-- allowed in encodings other than UTF8.
create function make.largest_escape() returns int language sql stable as $$
    select case when make.largest() < 55295 and current_setting('server_version_num')::int < 130000 then 127
        else least(make.largest(), 55295) end
$$;

create function make.number(low bigint, high bigint) returns bigint language sql volatile as $$
    select low + floor(random() * (high - low + 1))::bigint
$$;

-- Returns a byte. Servers before version 15 treat a byte beyond ASCII as text in the database's
-- encoding, and convert or refuse it, so it is limited to ASCII there.
create function make.byte(n int) returns "char" language sql stable as $$
    select case when make.largest() < 1114111 and current_setting('server_version_num')::int < 150000
        then n & 127 else n end::"char"
$$;

-- Returns a number of up to 64 bits; every number of bits is equally likely.
create function make.bits() returns bigint language sql volatile as $$
    select ('x' || substr(md5(random()::text), 1, 16))::bit(64)::bigint >> make.number(0, 63)::int
$$;

create function make.digits(n bigint) returns text language sql volatile as $$
    select coalesce(string_agg(make.number(0, 9)::text, ''), '') from generate_series(1, n)
$$;

create function make.hex(n bigint) returns text language sql volatile as $$
    select coalesce(string_agg(to_hex(make.number(0, 15)), ''), '') from generate_series(1, n)
$$;

create function make.sign() returns text language sql volatile as $$
    select case when random() < 0.5 then '-' else '' end
$$;

create function make.code() returns int language sql volatile as $$
    select case when code <= make.largest() then code else 32 + code % 95 end::int
    from (
        select case make.number(0, 11)
            when 0 then make.number(1, 31)
            when 1 then (array[34, 92, 47, 39, 60, 62, 38, 127, 123, 125, 44, 40, 41, 32, 37])[make.number(1, 15)]
            when 2 then make.number(128, 159)
            when 3 then make.number(160, 2047)
            when 4 then make.number(2048, 55295)
            when 5 then (array[8232, 8233, 65279, 65533, 65534, 65535, 57344, 8203])[make.number(1, 8)]
            when 6 then make.number(65536, 1114111)
            else make.number(32, 126)
        end as code
    ) s
$$;

create function make.string(n bigint) returns text language sql volatile as $$
    select coalesce(string_agg(chr(make.code()), ''), '') from generate_series(1, n)
$$;

create function make.word(n bigint) returns text language sql volatile as $$
    select coalesce(string_agg(chr(make.number(97, 122)::int), ''), '') from generate_series(1, n)
$$;

-- Returns one character of each kind, from one place in the list to another.
create function make.kinds(low int, high int) returns text language sql stable as $$
    select coalesce(string_agg(chr(code), '' order by place), '')
    from unnest(array(select generate_series(1, 31)) || array[32, 34, 38, 39, 44, 47, 60, 62, 92, 123, 125,
        127, 128, 159, 160, 255, 256, 2047, 2048, 8203, 8232, 8233, 55295, 57344, 65279, 65533, 65534,
        65535, 65536, 128512, 1114111]) with ordinality as k(code, place)
    where code <= make.largest() and place between low and high
$$;

create function make.kinds() returns text language sql stable as $$ select make.kinds(1, 100) $$;

create function make.float8() returns float8 language sql volatile as $$
    select case make.number(0, 3)
        when 0 then (make.sign() || make.digits(17) || 'e' || make.number(-320, 290))::float8
        when 1 then (make.sign() || make.digits(5) || 'e' || make.number(-10, 20))::float8
        when 2 then make.number(-100000, 100000) / 100.0::float8
        else make.bits()::float8
    end
$$;

create function make.float4() returns float4 language sql volatile as $$
    select case make.number(0, 2)
        when 0 then (make.sign() || '1' || make.digits(8) || 'e' || make.number(-44, 29))::float4
        when 1 then (make.sign() || make.digits(4) || 'e' || make.number(-10, 20))::float4
        else (make.number(-100000, 100000) / 100.0)::float4
    end
$$;

create function make.numeric() returns numeric language sql volatile as $$
    select case make.number(0, 4)
        when 0 then (make.sign() || make.digits(make.number(1, 40)) || '.' || make.digits(make.number(1, 40)))::numeric
        when 1 then ('0.' || repeat('0', make.number(0, 20)::int) || make.digits(make.number(1, 5)))::numeric
        when 2 then (make.sign() || make.digits(make.number(1, 5)) || repeat('0', make.number(0, 20)::int))::numeric
        when 3 then (make.sign() || '0.' || repeat('0', make.number(1, 9)::int))::numeric
        else make.bits()::numeric
    end
$$;

create function make.day() returns date language sql volatile as $$
    select date '2000-01-01' + case make.number(0, 3)
        when 0 then make.number(-2451545, 2145031948)
        when 1 then make.number(-730119, 2921939)
        when 2 then make.number(-800000, -650000)
        else make.number(-36524, 36525)
    end::int
$$;

create function make.moment() returns timestamp language sql volatile as $$
    select timestamp '2000-01-01' + make.number(low, high) * interval '1 day'
        + make.number(0, 86399) * interval '1 second'
        + case make.number(0, 2) when 0 then 0 when 1 then make.number(0, 999) * 1000 else make.number(0, 999999) end
            * interval '1 microsecond'
    from (values (0, -2451500, 106700000), (1, -730119, 2921939), (2, -800000, -650000), (3, -36524, 36525))
        as v(kind, low, high), make.number(0, 3) as n
    where kind = n
$$;

create function make.span() returns interval language sql volatile as $$
    select make.number(-1, 1) * make.number(0, 3000) * interval '1 month'
        + make.number(-1, 1) * make.number(0, 100000) * interval '1 day'
        + make.number(-1, 1) * make.number(0, 100) * interval '1 hour'
        + make.number(-1, 1) * make.number(0, 3600) * interval '1 second'
        + make.number(-1, 1) * make.number(0, 1) * make.number(0, 999999) * interval '1 microsecond'
$$;

create function make.clock() returns time language sql volatile as $$
    select time '00:00' + make.number(0, 86399) * interval '1 second'
        + make.number(0, 1) * make.number(0, 999999) * interval '1 microsecond'
$$;

create function make.zone() returns text language sql volatile as $$
    select case when random() < 0.5 then '-' else '+' end || lpad(make.number(0, 15)::text, 2, '0')
        || case make.number(0, 2) when 0 then '' else ':' || lpad(make.number(0, 59)::text, 2, '0') end
$$;

create function make.address() returns inet language sql volatile as $$
    select case make.number(0, 2)
        when 0 then make.number(0, 255) || '.' || make.number(0, 255) || '.' || make.number(0, 255) || '.'
            || make.number(0, 255) || '/' || make.number(0, 32)
        when 1 then (select string_agg(case when random() < 0.5 then '0' else make.hex(make.number(1, 4)) end, ':')
                from generate_series(1, 8)) || '/' || make.number(0, 128)
        else '::' || case when random() < 0.5 then 'ffff:' else '' end || make.number(0, 255) || '.1.2.'
            || make.number(0, 255)
    end::inet
$$;

create function make.bounds() returns text language sql volatile as $$
    select (array['[]', '[)', '(]', '()'])[make.number(1, 4)]
$$;

create function make.json_string(plain boolean) returns text language sql volatile as $$
    select '"' || coalesce(string_agg(case make.number(0, 7)
        when 0 then (array['\"', '\\', '\/', '\b', '\f', '\n', '\r', '\t'])[make.number(1, 8)]
        when 1 then '\u' || lpad(to_hex(case when plain then make.number(1, make.largest_escape())
            else make.number(0, 65535) end), 4, '0')
        when 2 then case when plain and make.largest() < 65536 then 'x' else '\ud83D\uDe0' || make.hex(1) end
        when 3 then case when plain then '<&>' else (array['\ud800', '\uDFFF', '\udc00\ud800', '\u2028'])[make.number(1, 4)] end
        else coalesce(chr(nullif(nullif(greatest(make.code(), 32), 34), 92)), 'q')
    end, ''), '') || '"'
    from generate_series(1, make.number(0, 6))
$$;

create function make.json_number() returns text language sql volatile as $$
    select case make.number(0, 3)
        when 0 then (array['0', '-0', '0.0', '1.50', '1E400', '-1.0e-5', '12345678901234567890.10',
            '9007199254740993', '1e5', '0.1E+3'])[make.number(1, 10)]
        when 1 then make.bits()::text
        else make.sign() || make.number(1, 9) || make.digits(make.number(0, 25)) || '.' || make.digits(3)
    end
$$;

create function make.blank() returns text language sql volatile as $$
    select (array['', '', ' ', E'\n', E'\t\r\n  '])[make.number(1, 5)]
$$;

-- Returns a random JSON text. The names of members are from a short list, so that some occur twice.
create function make.json(depth int, plain boolean) returns text language plpgsql volatile as $$
declare
    found text := '';
    kind int := make.number(0, case when depth > 0 then 9 else 4 end);
    n int := make.number(0, 4);
begin
    if kind = 0 then
        found := (array['null', 'true', 'false'])[make.number(1, 3)];
    elsif kind < 3 then
        found := make.json_number();
    elsif kind < 5 then
        found := make.json_string(plain);
    else
        for i in 1..n loop
            found := found || case when i > 1 then ',' else '' end || make.blank() || case when kind < 8
                then (array['"a"', '"b"', '"dup"', '""', '"\u0061"'])[make.number(1, 5)] || make.blank() || ':'
                else '' end || make.json(depth - 1, plain);
        end loop;
        found := case when kind < 8 then '{' || found || make.blank() || '}' else '[' || found || make.blank() || ']' end;
    end if;
    return make.blank() || found || make.blank();
end
$$;
