// The real binary: commands that end, and a server that is stopped.
import { spawn } from 'node:child_process'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const BINARY = process.env.FIELDSTONE_BIN ?? path.resolve(import.meta.dirname, '../../../target/debug/fieldstone')

// Settings of the developer's own are kept from it.
function environment(settings) {
  const rest = Object.entries(process.env).filter(([name]) => !name.startsWith('FIELDSTONE_'))
  return { ...Object.fromEntries(rest), ...settings }
}

// Runs a command to its end and gives what it printed as JSON, or as text where it is none.
export async function fieldstone(args, settings, { input = '', cwd }) {
  const child = spawn(BINARY, args, { env: environment(settings), cwd })
  let out = ''
  let err = ''
  child.stdout.on('data', (data) => (out += data))
  child.stderr.on('data', (data) => (err += data))
  child.stdin.on('error', () => {}) // it may have ended without reading
  child.stdin.end(input)
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve))
  if (code !== 0) throw new Error(`fieldstone ${args.join(' ')} ended with ${code}: ${err}${out}`)
  try {
    return JSON.parse(out)
  } catch {
    return out
  }
}

export class Server {
  static async start(args, settings, { cwd }) {
    const listen = settings.FIELDSTONE_LISTEN ?? `127.0.0.1:${await freePort()}`
    const child = spawn(BINARY, args, {
      env: environment({ ...settings, FIELDSTONE_LISTEN: listen, FIELDSTONE_PUBLIC_URL: `http://${listen}` }),
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const server = Object.assign(new Server(), { child, url: `http://${listen}`, log: '' })
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (data) => (server.log += data))
    for (let tries = 0; tries < 600; tries++) {
      const ready = await fetch(`${server.url}/readyz`).catch(() => null)
      if (ready?.ok) return server
      if (child.exitCode !== null) break
      await wait(50)
    }
    child.kill('SIGKILL')
    throw new Error(`fieldstone ${args.join(' ')} does not get ready:\n${server.log}`)
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once('close', resolve))
    this.child.kill('SIGTERM')
    await ended
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
