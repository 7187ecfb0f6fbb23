-- The oracle: functions that return the expected text of values in documents.
create schema say;

create function say.date(v date) returns text language sql stable as $$
    select case
        when v = 'infinity' then '9999-12-31'
        when v = '-infinity' or v < '0001-01-01 BC' or v > '9999-12-31' then '0000-01-01'
        when v < '0001-01-01' then '0000' || substr(v::text, 5, 6)
        else v::text
    end
$$;

create function say.moment(v timestamp) returns text language sql stable as $$
    select case
        when v = 'infinity' then '9999-12-31T23:59:59Z'
        when v = '-infinity' or v < '0001-01-01 BC' or v >= '10000-01-01' then '0000-01-01T00:00:00Z'
        when v < '0001-01-01' then '0000' || substr(replace(replace(v::text, ' BC', ''), ' ', 'T'), 5) || 'Z'
        else replace(v::text, ' ', 'T') || 'Z'
    end
$$;

create function say.midnight(v date) returns text language sql stable as $$
    select case
        when v = 'infinity' then say.moment('infinity')
        when say.date(v) = '0000-01-01' then say.moment('-infinity')
        else say.date(v) || 'T00:00:00Z'
    end
$$;

-- Returns the UTC offset for a number of seconds east of UTC, which must be whole minutes.
create function say.zone(seconds int) returns text language sql stable as $$
    select case when seconds = 0 then 'Z' else case when seconds < 0 then '-' else '+' end
        || lpad((abs(seconds) / 3600)::text, 2, '0') || ':' || lpad((abs(seconds) / 60 % 60)::text, 2, '0') end
$$;

create function say.shown(wall timestamp, seconds int) returns text language sql stable as $$
    select case when least(wall, wall - seconds % 60 * interval '1 second') < '0001-01-01 BC'
            or greatest(wall, wall - seconds % 60 * interval '1 second') >= '10000-01-01'
        then say.moment('-infinity')
        else rtrim(say.moment(wall - seconds % 60 * interval '1 second'), 'Z') || say.zone(seconds - seconds % 60) end
$$;

create function say.instant(v timestamptz) returns text language sql stable as $$
    select case
        when v = 'infinity' then say.moment('infinity')
        when v < '0010-01-01 BC' or v > '10010-01-01' then say.moment('-infinity')
        else say.shown(v at time zone current_setting('TimeZone'), extract(timezone from v)::int)
    end
$$;

create function say.clock(v time) returns text language sql stable as $$
    select (v - interval '0')::text || 'Z'
$$;

create function say.timetz(v timetz) returns text language sql stable as $$
    select (v::time - seconds % 60 * interval '1 second')::text || say.zone(seconds - seconds % 60)
    from (select extract(timezone from v)::int) as z(seconds)
$$;

create function say.interval(v interval) returns text language sql stable as $$
    select case when v::text like '%infinity' then v::text else
        case when months <> 0 then months || ' mon ' else '' end
        || case when days <> 0 then days || ' day' else '' end
        || case when micros <> 0 then ' ' || case when micros < 0 then '-' else '' end
            || case when div(abs(micros), 3600000000) < 100 then lpad(div(abs(micros), 3600000000)::text, 2, '0')
                else div(abs(micros), 3600000000)::text end
            || to_char(div(abs(micros), 60000000) % 60, 'FM":"00') || to_char(div(abs(micros), 1000000) % 60, 'FM":"00')
            || case when micros % 1000000 <> 0 then to_char(abs(micros) % 1000000, 'FM"."000000') else '' end
          else '' end
    end
    from (select (extract(year from v) * 12 + extract(month from v))::bigint, extract(day from v)::bigint,
            extract(hour from v)::numeric * 3600000000 + extract(minute from v)::numeric * 60000000
                + extract(microseconds from v)::numeric
            where v::text not like '%infinity'
        union all select 0, 0, 0 where v::text like '%infinity') as p(months, days, micros)
$$;

create function say.bounds(v anyrange, low text, high text) returns text language sql stable as $$
    select case when isempty(v) then 'empty' else case when lower_inc(v) then '[' else '(' end || coalesce(low, '')
        || ',' || coalesce(high, '') || case when upper_inc(v) then ']' else ')' end end
$$;

create function say.span(v daterange) returns text language sql stable as $$
    select say.bounds(v, say.midnight(lower(v)), say.midnight(upper(v)))
$$;

create function say.span(v tsrange) returns text language sql stable as $$
    select say.bounds(v, say.moment(lower(v)), say.moment(upper(v)))
$$;

create function say.span(v tstzrange) returns text language sql stable as $$
    select say.bounds(v, say.instant(lower(v)), say.instant(upper(v)))
$$;

create function say.span(v anyrange) returns text language sql stable as $$
    select say.bounds(v, format('%s', lower(v)), format('%s', upper(v)))
$$;
