--[[
What is secret, on its way into the node store and back.

    local sealed = seal.close('/dkim/a.example/s1?key_id=06e3…', text)  -- nil without a store key
    local text = seal.open('/dkim/a.example/s1?key_id=06e3…', sealed)   -- nil for what this node did not put there

The store key is 64 bytes: 32 for AES-256-CBC, 32 for HMAC-SHA-256. What is kept
is base64 of IV and ciphertext, a dot, and the hexadecimal MAC of format, path
and ciphertext; so nothing can be moved to another path. Encrypted first, then
authenticated: nothing is decrypted that was not written with this key.

Nothing here raises, and no error of kumod's is passed on: they quote keys.
]]
local kumo = require 'kumo'
local handles = require 'policyd.handles'

local mod = {}
local LENGTH = 64

local function report(topic, text)
  require('policyd.report').trouble(topic, text)
end

local keys

-- The two halves as KeySources; nil without a store key, or with a bad one.
local function halves()
  if keys then
    return keys
  end
  local source = require('policyd').CONFIGURED.store_key
  if not source then
    return nil
  end
  local ok, key = pcall(kumo.secrets.load, source)
  if not ok then
    report('store_key', 'the store key cannot be read')
  elseif #key ~= LENGTH then
    report(
      'store_key',
      string.format('the store key has %d bytes, and not %d', #key, LENGTH)
    )
  else
    keys = {
      cipher = { key = { key_data = key:sub(1, LENGTH // 2) } },
      mac = { key_data = key:sub(LENGTH // 2 + 1) },
    }
  end
  return keys
end

-- Whether there is a store key that can be used.
function mod.is_possible()
  return halves() ~= nil
end

-- Without the time that it takes telling how much of them is equal.
function mod.are_equal(a, b)
  local differs = #a ~ #b
  for i = 1, math.min(#a, #b) do
    differs = differs | (a:byte(i) ~ b:byte(i))
  end
  return differs == 0
end

-- A keyed hash of what is in no other place of the store; nil without a store
-- key.
function mod.mac(purpose, path, content)
  local mine = halves()
  if not mine then
    return nil
  end
  local text =
    table.concat({ handles.name 'seal', purpose, path, content }, '\n')
  local ok, mac = pcall(kumo.digest.hmac_sha256, mine.mac, text)
  return ok and mac.hex or nil
end

function mod.close(path, text)
  local mine = halves()
  if not mine then
    return nil
  end
  local ok, sealed =
    pcall(kumo.crypto.aes_encrypt_block, 'Cbc', text, mine.cipher)
  local mac = ok and mod.mac('entry', path, sealed)
  if not mac then
    report('seal', 'a secret could not be encrypted, and is not stored')
    return nil
  end
  return kumo.encode.base64_encode(sealed) .. '.' .. mac
end

local function opened(path, text)
  local encoded, written = text:match '^([%w+/=]+)%.(%x+)$'
  if not encoded then
    return nil
  end
  local sealed = kumo.encode.base64_decode(encoded)
  local mac = mod.mac('entry', path, sealed)
  if not mac or not mod.are_equal(mac, written) then
    return nil
  end
  local plain = kumo.crypto.aes_decrypt_block('Cbc', sealed, keys.cipher)
  return plain.bytes
end

function mod.open(path, text)
  if not halves() then
    return nil
  end
  local ok, plain = pcall(opened, path, text)
  if ok and plain then
    return plain
  end
  report(
    'seal',
    'a secret in the store was not written with this store key; it is left alone'
  )
end

return mod
