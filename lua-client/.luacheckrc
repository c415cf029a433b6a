std = 'lua54'
max_line_length = 120
globals = {}
self = false
-- What kumod itself sets while `kumod --validate` runs.
read_globals = { '_VALIDATING_CONFIG' }
