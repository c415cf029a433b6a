-- What was seen of private keys: which key is at a place, so that one replaced outside policyd is one change for everybody.

create table policy.dkim_key_seen (
  root text constraint root_is_like_default_or_acme_2 check (policy.is_key_root(root)),
  name text constraint name_is_a_name_below_a_root_and_no_path check (policy.is_key_name(name)),
  key_id text not null constraint key_id_is_64_lower_case_hex_digits check (key_id ~ '^[0-9a-f]{64}$'),
  algorithm text not null constraint algorithm_is_sha256_or_ed25519 check (algorithm in ('sha256', 'ed25519')),
  seen_at timestamptz not null default now(),
  tag text not null generated always as ('dkim_key/' || root || '/' || replace(name, '/', '%2F')) stored
    constraint dkim_key_documents_are_unique unique,
  constraint keys_are_unique primary key (root, name)
);
comment on table policy.dkim_key_seen is
  'Which key was seen at a place. Observed, not policy: the first sight makes no revision; another key than the known one does.';
comment on column policy.dkim_key_seen.root is 'the key root';
comment on column policy.dkim_key_seen.name is 'the name below it';
comment on column policy.dkim_key_seen.key_id is 'SHA-256 of the public key, as in the answers: openssl pkey -pubout -outform DER | sha256sum';
comment on column policy.dkim_key_seen.algorithm is 'what it is: sha256 (RSA) or ed25519';
comment on column policy.dkim_key_seen.seen_at is 'since when it is known there';
comment on column policy.dkim_key_seen.tag is 'its document';

-- As policy.watch, for deletes alone: whoever forgets a key lets the next one pass as a first sight, so nodes must hear.
create trigger t000_claim before delete on policy.dkim_key_seen for each statement execute function policy.claim();
create trigger t000_refuse_truncate before truncate on policy.dkim_key_seen for each statement execute function policy.refuse_truncate();
create trigger t500_log_delete after delete on policy.dkim_key_seen referencing old table as old_rows
  for each statement execute function policy.log_change('true', 'root', 'name');

-- SECURITY DEFINER: writes the log.
create function policy.note_dkim_key(key_root text, key_name text, read_id text, read_algorithm text, known_id text)
  returns table (key_id text, algorithm text)
  language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  before policy.dkim_key_seen;
begin
  insert into policy.dkim_key_seen (root, name, key_id, algorithm) values (key_root, key_name, read_id, read_algorithm)
  on conflict (root, name) do nothing;
  select k.* into before from policy.dkim_key_seen as k where k.root = key_root and k.name = key_name;
  if before.key_id <> read_id and before.key_id = known_id then
    perform policy.claim_turn();
    update policy.dkim_key_seen as k set key_id = read_id, algorithm = read_algorithm, seen_at = now()
     where k.root = key_root and k.name = key_name and k.key_id = known_id;
    if found then
      perform set_config('policy.reason', 'the key was replaced where it is kept', true);
      insert into policy.change (revision, "table", op, key, old, new, tags) values (
        policy.take_revision(), 'dkim_key_seen', 'update', jsonb_build_object('root', key_root, 'name', key_name),
        jsonb_build_object('key_id', before.key_id, 'algorithm', before.algorithm),
        jsonb_build_object('key_id', read_id, 'algorithm', read_algorithm), array[before.tag]);
    end if;
  end if;
  return query select k.key_id, k.algorithm from policy.dkim_key_seen as k where k.root = key_root and k.name = key_name;
end $$;
comment on function policy.note_dkim_key(text, text, text, text, text) is
  'Notes the key that was read at a place, and returns the one that is known there then. One that nothing is known of is
a first sight. Another than the known one becomes it, in a revision, only if who read it knew which one it replaces.';
revoke execute on function policy.note_dkim_key(text, text, text, text, text) from public;

create view policy.dkim_key_document as
select k.tag, jsonb_build_object('key_id', k.key_id, 'algorithm', k.algorithm) as body from policy.dkim_key_seen as k;
comment on view policy.dkim_key_document is 'The key at a place, by its public half''s fingerprint.';
comment on column policy.dkim_key_document.tag is 'the document';
comment on column policy.dkim_key_document.body is 'what it says';

insert into policy.privilege (role, privilege)
select r.role, 'select on policy.dkim_key_seen, policy.dkim_key_document'
from (values ('policyd_owner'), ('policyd_editor'), ('policyd_service'), ('policyd_reader')) as r (role)
union all
values ('policyd_owner', 'delete on policy.dkim_key_seen'),
       ('policyd_service', 'execute on function policy.note_dkim_key(text, text, text, text, text)');
call policy.grant_access();
