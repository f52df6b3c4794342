// An agency with a team, set up as an operator and an administrator would, served by the real binary.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import { Server, fieldstone } from './binary.js'
import { freshDatabase } from './database.js'
import { PASSWORD, Person } from './person.js'
import { Phone } from './phone.js'

export class World {
  static async open(kind) {
    const world = new World()
    try {
      await world.settlesIn(kind)
    } catch (error) {
      await world.close()
      throw error
    }
    return world
  }

  async settlesIn(kind) {
    this.phones = 0
    this.kind = kind
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fieldstone-clients-'))
    this.database = await freshDatabase(kind, this.folder)
    this.settings = {
      FIELDSTONE_DATABASE_URL: this.database.url,
      FIELDSTONE_SIGNING_KEY_FILE: path.join(this.folder, 'signing.json'),
      FIELDSTONE_RATE_PER_SECOND: '0', // a test is one address that asks more than ten people would
    }
    await this.run(['migrate', 'up'])
    await this.run(['admin', 'rotate-signing-key'])
    const agency = await this.run(['admin', 'create-agency', 'Riverbend', '--tz', 'America/New_York', '--json'])
    this.agency = agency.id
    await this.hires('ada', 'administrator')
    this.server = await Server.start(['serve'], this.settings, { cwd: this.folder })
    const ada = await this.person('ada@demo.example')
    const team = await ada.post('/teams', { name: 'North' })
    await this.hires('sam', 'supervisor', team.id)
    for (const name of ['ana', 'ben']) await this.hires(name, 'caseworker', team.id)
    const sam = await this.person('sam@demo.example')
    await ada.patch(`/teams/${team.id}`, { supervisor_user_id: sam.user.id })
  }

  // Runs a command of the binary on this world's database.
  run(args, input) {
    return fieldstone(args, this.settings, { input, cwd: this.folder })
  }

  async backsUp() {
    this.backup = path.join(fs.mkdtempSync(path.join(this.folder, 'kept-')), 'world.backup')
    await this.run(['backup', this.backup])
  }

  // A new database filled from the last backup, and a server on it where the old one was.
  async restores() {
    await this.server.stop()
    await this.database.drop()
    this.database = await freshDatabase(this.kind, fs.mkdtempSync(path.join(this.folder, 'restored-')))
    this.settings.FIELDSTONE_DATABASE_URL = this.database.url
    await this.run(['restore', this.backup])
    const address = new URL(this.server.url).host
    this.server = await Server.start(['serve'], { ...this.settings, FIELDSTONE_LISTEN: address }, { cwd: this.folder })
  }

  async hires(name, role, team) {
    const args = ['admin', 'create-user', '--agency', this.agency, '--email', `${name}@demo.example`, '--name', name]
    await this.run([...args, '--role', role, ...(team ? ['--team', team] : [])], `${PASSWORD}\n`)
  }

  // Somebody with an account, signed in on a device of their own.
  person(email) {
    return new Person(this.server.url, email).logsIn()
  }

  // A new phone with nothing on it, of somebody who is signed in on it.
  async phone(person, { described, ...more } = {}) {
    const own = await this.person(person.email)
    described ??= await own.get('/sync/schema')
    return Phone.of(own, described, path.join(this.folder, `phone-${++this.phones}.db`), more)
  }

  async close() {
    await this.server?.stop()
    await this.database?.drop()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}
