# What policyd may do: read the private keys below one prefix of a KV engine of version 2.
path "secret/data/dkim/*" {
  capabilities = ["read"]
}
