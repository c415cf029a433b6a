-- What a name may be, and how the names of documents are written.
--
-- Functions with a standard SQL body (`return …`, `begin atomic …`) bind their names when they are created:
-- they need no search_path and can be inlined. Every other function pins `set search_path = ''`.

comment on schema policy is
  'Live policy for KumoMTA: the rows that operators change, the log of their changes, and the documents that policyd answers from.';
comment on table policy.migration is
  'Which numbered files of sql/ this database has had.';
comment on column policy.migration.number is 'the number that the file name begins with';
comment on column policy.migration.name is 'the file name';
comment on column policy.migration.applied_at is 'when it was applied';

create function policy.is_domain(name text) returns boolean
  language sql immutable parallel safe
  return name ~ '^(\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*)$'
     and length(name) <= 253
     and (length(name) <= 63 or name !~ '[^.]{64}');
comment on function policy.is_domain(text) is
  'True for lower-case A-labels without a trailing dot (labels may hold _), with *. in front or * alone allowed.';

create function policy.are_domains(names text[]) returns boolean
  language sql immutable parallel safe
  return not exists (select from unnest(names) as n (name) where policy.is_domain(n.name) is not true);
comment on function policy.are_domains(text[]) is 'True where every element is what policy.is_domain wants.';

create function policy.is_name(name text) returns boolean
  language sql immutable parallel safe
  return length(name) between 1 and 255 and name !~ '^\s|\s$|[[:cntrl:]]';
comment on function policy.is_name(text) is
  'True for 1 to 255 characters without control characters and without white space at either end.';

create function policy.is_queue_part(name text) returns boolean
  language sql immutable parallel safe
  return policy.is_name(name) and name !~ '[@:!]';
comment on function policy.is_queue_part(text) is
  'True for a name that may stand in campaign:tenant@domain!routing_domain, where KumoMTA reads @ : ! as separators.';

create function policy.is_header(name text) returns boolean
  language sql immutable parallel safe
  return name ~ '^[!-9;-~]{1,200}$';
comment on function policy.is_header(text) is 'True for what RFC 5322 allows as the name of a header.';

create function policy.is_host(name text) returns boolean
  language sql immutable parallel safe
  return name ~ '^[][A-Za-z0-9._:-]{1,255}$';
comment on function policy.is_host(text) is 'True for a domain or an address literal: letters, digits and . _ : - [ ].';

create function policy.is_node_name(name text) returns boolean
  language sql immutable parallel safe
  return name ~ '^[A-Za-z0-9._-]{1,64}$';
comment on function policy.is_node_name(text) is 'True for 1 to 64 of A-Z a-z 0-9 . _ -, as nodes and groups of nodes are called.';

create function policy.tag(variadic parts text[]) returns text
  language sql immutable parallel safe
  return array_to_string(array(
    select replace(replace(p.part, '%', '%25'), '/', '%2F')
    from unnest(parts) with ordinality as p (part, position) order by p.position), '/');
comment on function policy.tag(text[]) is
  'The tag of a document from its parts: tag(''egress_pool'', ''*'', ''a/b'') is egress_pool/*/a%2Fb.';
