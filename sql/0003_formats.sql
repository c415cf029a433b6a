-- The formats that KumoMTA's constructors accept: one function says whether a value fits, one says what would.
-- Values are judged more strictly than by kumod only where kumod takes what it cannot mean; `policy.allowed` says so.

create function policy.is_ipv6(t text) returns boolean
  language sql immutable parallel safe
  return case
    -- :: stands for at least one group.
    when t ~ '::' then
      t ~* '^([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?$' and regexp_count(t, '[0-9a-fA-F]+') <= 7
    else t ~* '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$'
  end;
comment on function policy.is_ipv6(text) is 'True for eight groups, or fewer around one ::.';

create function policy.is_ip(t text) returns boolean
  language sql immutable parallel safe
  return case
    when t !~ ':' then t ~ '^((25[0-5]|2[0-4]\d|1?[1-9]?\d|1\d\d)(\.|$)){4}$' and t !~ '\.$'
    -- An IPv4 tail counts as two groups.
    when t ~ '\.' then
      t ~ ':((25[0-5]|2[0-4]\d|1?[1-9]?\d|1\d\d)(\.|$)){4}$' and t !~ '\.$'
      and policy.is_ipv6(regexp_replace(t, '[0-9.]+$', '0:0'))
    else policy.is_ipv6(t)
  end;
comment on function policy.is_ip(text) is 'True for an IPv4 or IPv6 address without port, brackets or zone.';

create function policy.is_network(t text) returns boolean
  language sql immutable parallel safe
  return case
    when t = 'any' then true
    when t !~ '/' then policy.is_ip(t)
    when t !~ '^[0-9a-fA-F:.]+/(\d|[1-9]\d|1[01]\d|12[0-8])$' or not policy.is_ip(split_part(t, '/', 1)) then false
    when t !~ ':' and split_part(t, '/', 2)::integer > 32 then false
    else host(network(t::inet)) = host(t::inet)
  end;
comment on function policy.is_network(text) is 'True for an address, a network without host bits, or any.';

create function policy.is_socket(t text) returns boolean
  language sql immutable parallel safe
  return case
    when t ~ '^/' then t !~ '[[:cntrl:]]'
    when t !~ ':\d{1,5}$' or not substring(t from '\d+$')::integer between 1 and 65535 then false
    when t ~ '^\[' then policy.is_ip(substring(t from '^\[(.*:.*)\]:\d+$')) is true
    when t ~ '^[\d.]+:\d+$' then policy.is_ip(split_part(t, ':', 1))
    else t ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?:\d+$'
  end;
comment on function policy.is_socket(text) is 'True for ip:port, [v6]:port, host:port or the absolute path of a socket.';

create function policy.is_rate(t text) returns boolean
  language sql immutable parallel safe
  return t ~ ('^(local:)?[0-9][0-9_,]{0,14}/([1-9]\d{0,5})?(s|sec|second|m|min|minute|h|hr|hour|d|day)'
              || '(,max_burst=[0-9][0-9_,]{0,14})?$')
     and t ~ '^(local:)?[0_,]*[1-9]' and t !~ 'max_burst=[0_,]*$';
comment on function policy.is_rate(text) is 'True for a throttle as KumoMTA writes it, without zeros: 100/h, local:5/s, 10/30s,max_burst=2.';

create function policy.is_span(t text) returns boolean
  language sql immutable parallel safe
  return t ~ ('^(\d{1,12}(\.\d{1,9})? *(nsec|ns|usec|us|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m'
              || '|hours|hour|hrs|hr|h|days|day|d|weeks|week|w|months|month|M|years|year|y)( +(?=\d)|(?=\d)|$))+$');
comment on function policy.is_span(text) is 'True for a duration in words: 90s, 5m, 1h 30m, 2 days.';

create function policy.seconds(value jsonb) returns numeric
  language sql immutable parallel safe
  return case
    when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric
    else (
      select sum(part[1]::numeric * case
        when part[2] ~ '^n' then 0.000000001 when part[2] ~ '^u' then 0.000001 when part[2] ~ '^ms' then 0.001
        when part[2] ~ '^s' then 1 when part[2] = 'M' or part[2] ~ '^mo' then 2630016 when part[2] ~ '^m' then 60
        when part[2] ~ '^h' then 3600 when part[2] ~ '^d' then 86400 when part[2] ~ '^w' then 604800 else 31557600
      end)
      from regexp_matches(value #>> '{}', '(\d+(?:\.\d+)?) *([a-zA-Z]+)', 'g') as m (part))
  end;
comment on function policy.seconds(jsonb) is 'How long a duration is that fits: "1h 30m" is 5400.';

create function policy.is_text(value jsonb) returns boolean
  language sql immutable parallel safe
  return jsonb_typeof(value) = 'string' and value #>> '{}' ~ '\S' and value #>> '{}' !~ '[[:cntrl:]]';
comment on function policy.is_text(jsonb) is 'True for a string that is not blank and has no control characters.';

create function policy.is_count(value jsonb, low bigint, high bigint) returns boolean
  language sql immutable parallel safe
  -- 5.0 stays 5.0 in jsonb, becomes a float in Lua and is refused by kumod.
  return case when jsonb_typeof(value) = 'number' and value #>> '{}' ~ '^\d{1,15}$'
    then (value #>> '{}')::bigint between low and high else false end;
comment on function policy.is_count(jsonb, bigint, bigint) is 'True for an integer, written as one, between these two.';

create function policy.is_limit(value jsonb) returns boolean
  language sql immutable parallel safe
  return case jsonb_typeof(value)
    when 'number' then policy.is_count(value, 1, 999999999999999)
    when 'string' then value #>> '{}' ~ '^(local:)?[0-9][0-9_,]{0,14}$' and value #>> '{}' ~ '[1-9]'
    when 'object' then policy.is_count(value -> 'limit', 1, 999999999999999)
      and jsonb_typeof(coalesce(value -> 'force_local', 'true')) = 'boolean' and value - '{limit,force_local}'::text[] = '{}'
    else false
  end;
comment on function policy.is_limit(jsonb) is 'True for a limit of at least 1: 5, "local:1_000", {"limit": 5, "force_local": true}.';

create function policy.is_duration(value jsonb, low numeric, high numeric) returns boolean
  language sql immutable parallel safe
  return case
    when jsonb_typeof(value) = 'number' or jsonb_typeof(value) = 'string' and policy.is_span(value #>> '{}')
    then policy.seconds(value) between low and high
    else false
  end;
comment on function policy.is_duration(jsonb, numeric, numeric) is 'True for a duration between these two, in seconds.';

create function policy.is_mx(value jsonb) returns boolean
  language sql immutable parallel safe
  return case jsonb_typeof(value)
    when 'string' then
      value #>> '{}' ~ '^[A-Za-z0-9._-]+(:\d{1,5})?$' or value #>> '{}' ~ '^\[[^]]+\](:\d{1,5})?$'
        and policy.is_ip(regexp_replace(substring(value #>> '{}' from '^\[([^]]+)\]'), '^IPv6:', '', 'i'))
    when 'object' then
      coalesce(policy.is_text(value -> 'name')
        and (policy.is_ip(value ->> 'addr') or policy.is_socket(value ->> 'addr') and value ->> 'addr' ~ '^[][0-9a-fA-F.:]+$'), false)
      and jsonb_typeof(coalesce(value -> 'is_secure', 'true')) = 'boolean'
      and value - '{name,addr,is_secure}'::text[] = '{}'
    else false
  end;
comment on function policy.is_mx(jsonb) is 'True for an entry of an mx_list: "host:port", "[ip]", {"name": …, "addr": "ip:port"}.';

create function policy.is_protocol(value jsonb) returns boolean
  language sql immutable parallel safe
  return case
    when jsonb_typeof(value) <> 'object' then false
    when value ? 'smtp' then
      value - 'smtp' = '{}' and jsonb_typeof(value -> 'smtp') = 'object'
      and (value -> 'smtp') - '{mx_list,treat_mx_list_as_secure}'::text[] = '{}'
      and jsonb_typeof(coalesce(value #> '{smtp,treat_mx_list_as_secure}', 'true')) = 'boolean'
      and case when jsonb_typeof(coalesce(value #> '{smtp,mx_list}', '[]')) <> 'array' then false
        else not exists (
          select from jsonb_array_elements(coalesce(value #> '{smtp,mx_list}', '[]')) as e (entry)
          where policy.is_mx(e.entry) is not true) end
    when value ? 'custom_lua' then
      value - 'custom_lua' = '{}' and jsonb_typeof(value -> 'custom_lua') = 'object'
      and policy.is_text(value #> '{custom_lua,constructor}') is true
      and (value -> 'custom_lua') - '{constructor,batch_size,min_batch_size,max_batch_latency}'::text[] = '{}'
      and policy.is_count(coalesce(value #> '{custom_lua,batch_size}', '1'), 1, 999999999)
      and policy.is_count(coalesce(value #> '{custom_lua,min_batch_size}', '1'), 1, 999999999)
      and policy.is_duration(coalesce(value #> '{custom_lua,max_batch_latency}', '0'), 0, 86400)
    when value ? 'maildir_path' then
      policy.is_text(value -> 'maildir_path') and value - '{maildir_path,dir_mode,file_mode}'::text[] = '{}'
      and policy.is_count(coalesce(value -> 'dir_mode', '0'), 0, 4095)
      and policy.is_count(coalesce(value -> 'file_mode', '0'), 0, 4095)
    when value ? 'xfer' then
      value - 'xfer' = '{}' and jsonb_typeof(value -> 'xfer') = 'object' and (value -> 'xfer') - 'target' = '{}'
      and coalesce(value #>> '{xfer,target}' ~ '^https?://[^\s/]+', false)
    else false
  end;
comment on function policy.is_protocol(jsonb) is 'True for what queue config calls a protocol: one of smtp, custom_lua, maildir_path, xfer.';

create function policy.is_suspend(value jsonb) returns boolean
  language sql immutable parallel safe
  return case
    when jsonb_typeof(value) <> 'object' or value - '{duration,trigger}'::text[] <> '{}' then false
    when not coalesce(policy.is_duration(value -> 'duration', 1, 31622400), false) then false
    when jsonb_typeof(coalesce(value -> 'trigger', '"Immediate"')) = 'string'
      then coalesce(value ->> 'trigger', 'Immediate') = 'Immediate'
    when jsonb_typeof(value -> 'trigger') <> 'object' then false
    else (value -> 'trigger') - 'Threshold' = '{}' and coalesce(policy.is_rate(value #>> '{trigger,Threshold}'), false)
  end;
comment on function policy.is_suspend(jsonb) is 'True for {"duration": "5m", "trigger": "Immediate" or {"Threshold": "3/hr"}}.';

create function policy.is_secret(value jsonb) returns boolean
  language sql immutable parallel safe
  return case when jsonb_typeof(value) = 'object'
    then value - 'secret' = '{}' and coalesce(policy.is_node_name(value ->> 'secret') and jsonb_typeof(value -> 'secret') = 'string', false)
    else false end;
comment on function policy.is_secret(jsonb) is 'True for {"secret": NAME}, the only way in which a row may speak of a secret.';

create function policy.is_openssl_options(t text) returns boolean
  language sql immutable parallel safe
  return t ~ (
    '^((ALL|NO_QUERY_MTU|COOKIE_EXCHANGE|NO_TICKET|NO_SESSION_RESUMPTION_ON_RENEGOTIATION|NO_COMPRESSION'
    || '|ALLOW_UNSAFE_LEGACY_RENEGOTIATION|SINGLE_ECDH_USE|SINGLE_DH_USE|TLS_ROLLBACK_BUG|CIPHER_SERVER_PREFERENCE'
    || '|NO_SSLV2|NO_SSLV3|NO_TLSV1|NO_TLSV1_1|NO_TLSV1_2|NO_TLSV1_3|NO_DTLSV1|NO_DTLSV1_2|NO_SSL_MASK'
    || '|NO_RENEGOTIATION|ENABLE_MIDDLEBOX_COMPAT|PRIORITIZE_CHACHA)(\||$))+$') and t !~ '\|$';
comment on function policy.is_openssl_options(text) is 'True for names of OpenSSL options joined by |.';

create function policy.is_entry(value jsonb) returns boolean
  language sql immutable parallel safe
  return case when jsonb_typeof(value) = 'object'
    then policy.is_text(value -> 'name') and value - '{name,weight}'::text[] = '{}'
      and policy.is_count(coalesce(value -> 'weight', '1'), 0, 4294967295)
    else false end;
comment on function policy.is_entry(jsonb) is 'True for {"name": SOURCE, "weight": integer from 0 on}.';

create function policy.is_shrink(value jsonb) returns boolean
  language sql immutable parallel safe
  return case when jsonb_typeof(value) = 'object'
    then policy.is_duration(value -> 'interval', 1, 100000000000) and value - '{interval,policy}'::text[] = '{}'
      and value ->> 'policy' in ('ShrinkDataAndMeta', 'ShrinkData', 'NoShrink')
    else false end;
comment on function policy.is_shrink(jsonb) is 'True for {"interval": "1m", "policy": ShrinkDataAndMeta, ShrinkData or NoShrink}.';

create function policy.is_rustls_suite(t text) returns boolean
  language sql immutable parallel safe
  return upper(t) ~ '^TLS(13|_ECDHE_(ECDSA|RSA)_WITH)_(AES_256_GCM_SHA384|AES_128_GCM_SHA256|CHACHA20_POLY1305_SHA256)$';
comment on function policy.is_rustls_suite(text) is 'True for a cipher suite of rustls.';

create function policy.is_selector(t text) returns boolean
  language sql immutable parallel safe
  return length(t) <= 253 and t ~ '^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$';
comment on function policy.is_selector(text) is 'True for labels of letters, digits, _ and -, joined by dots: s1, 2026.mail.';

create function policy.are_signed_headers(value jsonb) returns boolean
  language sql immutable parallel safe
  return case when jsonb_typeof(value) = 'array' then
    exists (select from jsonb_array_elements(value) as h (name) where lower(h.name #>> '{}') = 'from')
    and not exists (
      select from jsonb_array_elements(value) as h (name)
      where jsonb_typeof(h.name) <> 'string' or not policy.is_header(h.name #>> '{}'))
    else false end;
comment on function policy.are_signed_headers(jsonb) is 'True for a list of names of headers with From among them.';

create function policy.fits_element(format text, value jsonb) returns boolean
  language plpgsql immutable parallel safe set search_path = '' as $$
declare
  word constant text := case when jsonb_typeof(value) = 'string' then value #>> '{}' end;
begin
  return coalesce(case format
    when 'network' then policy.is_network(word)
    when 'text' then policy.is_text(value)
    when 'throttle' then policy.is_rate(word)
    when 'limit' then policy.is_limit(value)
    when 'entry' then policy.is_entry(value)
    when 'shrink' then policy.is_shrink(value)
    when 'rustls' then policy.is_rustls_suite(word)
  end, false);
end $$;
comment on function policy.fits_element(text, jsonb) is 'Whether one element of a list or map fits.';

-- plpgsql, because it keeps each expression ready, where a SQL function this long would be set up for every value.
create function policy.fits(format text, value jsonb) returns boolean
  language plpgsql immutable parallel safe set search_path = '' as $$
declare
  word constant text := case when jsonb_typeof(value) = 'string' then value #>> '{}' end;
begin
  case split_part(format, ':', 1)
    when 'bool' then return jsonb_typeof(value) = 'boolean';
    when 'text' then return policy.is_text(value);
    when 'enum' then return coalesce(word = any (string_to_array(substr(format, 6), '|')), false);
    when 'bool|enum' then
      return jsonb_typeof(value) = 'boolean' or coalesce(word = any (string_to_array(substr(format, 11), '|')), false);
    when 'duration' then return policy.is_duration(value, 0, 100000000000);
    when 'interval' then return policy.is_duration(value, 1, 100000000000);
    when 'tick' then return policy.is_duration(value, 0.001, 100000000000);
    when 'age' then return policy.is_duration(value, 1, 31622400);
    when 'throttle' then return coalesce(policy.is_rate(word), false);
    when 'limit' then return coalesce(policy.is_limit(value), false);
    when 'count' then return policy.is_count(value, 0, 999999999999999);
    when 'positive' then return policy.is_count(value, 1, 999999999999999);
    when 'port' then return policy.is_count(value, 1, 65535);
    when 'address' then return coalesce(policy.is_ip(word), false);
    when 'socket' then return coalesce(policy.is_socket(word), false);
    when 'secret' then return coalesce(policy.is_secret(value), false);
    when 'suspend' then return coalesce(policy.is_suspend(value), false);
    when 'protocol' then return coalesce(policy.is_protocol(value), false);
    when 'selector' then return coalesce(policy.is_selector(word), false);
    when 'signed_headers' then return policy.are_signed_headers(value);
    when 'openssl_options' then return coalesce(policy.is_openssl_options(word), false);
    when 'list' then
      if jsonb_typeof(value) <> 'array' then
        return false;
      end if;
      return not exists (
        select from jsonb_array_elements(value) as e (element) where not policy.fits_element(substr(format, 6), e.element));
    when 'map' then
      if jsonb_typeof(value) <> 'object' then
        return false;
      end if;
      return not exists (
        select from jsonb_each(value) as e (key, element) where e.key = '' or not policy.fits_element(substr(format, 5), e.element));
    else return false;
  end case;
end $$;
comment on function policy.fits(text, jsonb) is 'Whether a value is what a format of policy.option allows.';

create function policy.allowed(format text) returns text
  language sql immutable parallel safe
  return case
    when format = 'bool' then 'true or false'
    when format = 'text' then 'text that is not blank, without control characters'
    when format like 'enum:%' then replace(substr(format, 6), '|', ', ')
    when format like 'bool|enum:%' then 'true, false, ' || replace(substr(format, 11), '|', ', ')
    when format = 'duration' then 'seconds such as 300, or text such as "90s", "5m", "1h 30m", "2 days"'
    when format = 'interval' then 'at least one second: a number such as 300, or text such as "90s", "5m", "1h 30m", "2 days"'
    when format = 'tick' then 'at least a millisecond: a number of seconds such as 3, or text such as "250ms" or "1s"'
    when format = 'age' then 'one second to 366 days: a number such as 86400, or text such as "12h" or "7 days"'
    when format = 'throttle' then 'a rate above zero such as "100/h", "10/30s", "local:5/s", "1_000/day,max_burst=50"'
    when format = 'limit' then 'a limit of at least 1 such as 5, "local:1_000", {"limit": 5, "force_local": true}'
    when format = 'count' then 'an integer from 0 on'
    when format = 'positive' then 'an integer from 1 on'
    when format = 'port' then 'an integer from 1 to 65535'
    when format = 'address' then 'an IPv4 or IPv6 address without a port'
    when format = 'socket' then 'ip:port, [v6]:port, host:port or the absolute path of a socket'
    when format = 'secret' then '{"secret": "NAME"}, a name that each node''s setup resolves'
    when format = 'suspend' then '{"duration": "5m"}, with "trigger": "Immediate" or {"Threshold": "3/hr"} if wanted'
    when format = 'protocol' then 'one of {"smtp": {"mx_list": […]}}, {"custom_lua": {"constructor": …}}, {"maildir_path": …}, {"xfer": {"target": URL}}'
    when format = 'openssl_options' then 'names of OpenSSL options joined by |, such as NO_SSLV3|NO_TLSV1'
    when format = 'selector' then 'labels of letters, digits, _ and - joined by dots, such as "s1" or "2026.mail"'
    when format = 'signed_headers' then 'a list of names of headers with "From" among them'
    when format = 'list:network' then 'a list of addresses, networks without host bits, or "any"'
    when format = 'list:text' then 'a list of texts that are not blank'
    when format = 'list:entry' then 'a list of {"name": SOURCE, "weight": integer from 0 on}'
    when format = 'list:shrink' then 'a list of {"interval": "1m", "policy": ShrinkDataAndMeta, ShrinkData or NoShrink}'
    when format = 'list:rustls' then 'a list of rustls cipher suites such as "TLS13_AES_256_GCM_SHA384"'
    when format = 'map:limit' then 'an object of name to limit, such as {"all": 5}'
    when format = 'map:throttle' then 'an object of name to rate, such as {"all": "100/h"}'
    else format
  end;
comment on function policy.allowed(text) is 'What a format allows, to end a sentence with.';
