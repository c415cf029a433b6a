-- A whole policy for a node of KumoMTA that gets its data from policyd: /opt/kumomta/etc/policy/init.lua.
-- To try it below another directory, name that in KUMO_ROOT (docs/lua-client.md).
local kumo = require 'kumo'
local root = os.getenv 'KUMO_ROOT' or ''
local etc, spool =
  root .. '/opt/kumomta/etc/policyd', root .. '/var/spool/kumomta'

require('policyd'):setup {
  endpoints = { 'http://127.0.0.1:8085' }, -- tried in order
  token = etc .. '/token', -- policyd token create NODE --scope lookup --scope status --scope dkim --scope auth
  store = spool .. '/policyd/store.db', -- what was known last, for restarts and outages
  store_key = etc .. '/store.key', -- make install-lua has made it
  secrets = {}, -- NAME = KeySource, for what rows call {"secret": "NAME"}
}
require('policyd.log_hooks'):setup { slots = 1 }
require('policyd.sources'):setup()
kumo.on('get_listener_domain', require('policyd.listener_domains'):setup())
kumo.on('get_egress_path_config', require('policyd.shaping'):setup())
kumo.on(
  'smtp_server_auth_plain',
  require('policyd.smtp_auth'):setup().smtp_server_auth_plain
)
local dkim_signer = require('policyd.dkim_sign'):setup()
local queue_helper = require('policyd.queue'):setup() -- last

kumo.on('init', function()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = spool .. '/' .. name,
      kind = 'RocksDB',
    }
  end
  kumo.configure_accounting_db_path(spool .. '/accounting.db')
  kumo.configure_local_logs {
    log_dir = root .. '/var/log/kumomta',
    meta = { 'tenant', 'campaign', 'policyd_revision' },
  }
  for _, port in ipairs { 25, 587 } do
    kumo.start_esmtp_listener {
      listen = root == '' and '0.0.0.0:' .. port
        or '127.0.0.1:' .. port + 2000,
      hostname = 'mail.example.com',
      relay_hosts = { '127.0.0.1' }, -- everybody else is a matter of rows
    }
  end
  kumo.start_http_listener { listen = '127.0.0.1:8000' }
end)

kumo.on('smtp_server_message_received', function(msg)
  queue_helper:apply(msg)
  dkim_signer(msg) -- last: what it signs must not change any more
end)
kumo.on('http_message_generated', function(msg, auth_info)
  queue_helper:apply(msg, auth_info)
  dkim_signer(msg)
end)
