// A fresh database for a suite: a file in a folder, or a database on the server of FIELDSTONE_TEST_POSTGRES_URL.
import path from 'node:path'

import pg from 'pg'

export async function freshDatabase(kind, folder) {
  if (kind === 'sqlite') return { url: `sqlite://${path.join(folder, 'fieldstone.db')}`, drop: async () => {} }
  const server = process.env.FIELDSTONE_TEST_POSTGRES_URL
  if (!server) throw new Error('no PostgreSQL to test on. Run `tests/run clients`')
  const name = `fieldstone_clients_${crypto.randomUUID().replaceAll('-', '')}`
  await say(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => say(server, `drop database ${name} with (force)`) }
}

async function say(server, sql) {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
